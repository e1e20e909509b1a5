"""What notifications need: a store, names of places, and two ways out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Protocol

from sluice.auth.model import Organization
from sluice.base.ids import (
    DeliveryId,
    NotificationId,
    OrganizationId,
    UserId,
    WorkspaceId,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.notifications.model import Backlog, Claimed, Delivery, Notification
from sluice.notifications.schedule import Tried
from sluice.wire.notification import DeliveryStatus, Trigger
from sluice.workspaces.model import Workspace


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an organization who can be told by e-mail."""

    user_id: UserId
    name: str
    address: str


class NotificationStore(Protocol):
    """Notifications, as people keep them."""

    async def add(self, tx: Tx, notification: Notification) -> None:
        """Keep a new notification.

        Raises:
            ConflictError: the workspace or organization has one of this name.
        """
        ...

    async def get(self, tx: Tx, notification_id: NotificationId) -> Notification | None:
        """A notification."""
        ...

    async def hold(
        self, tx: Tx, notification_id: NotificationId
    ) -> Notification | None:
        """The notification, kept from others' changes until the transaction ends."""
        ...

    async def owned_by(self, tx: Tx, owner_id: str) -> list[Notification]:
        """A workspace's or an organization's own notifications, by name."""
        ...

    async def save(self, tx: Tx, notification: Notification) -> None:
        """Store what people changed; the lease is left as it is.

        Raises:
            ConflictError: there is another one of this name.
        """
        ...

    async def delete(self, tx: Tx, notification_id: NotificationId) -> None:
        """Forget a notification with its messages."""
        ...

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all notifications of a workspace, with their messages."""
        ...

    async def members(
        self, tx: Tx, organization_id: OrganizationId, wanted: Collection[str]
    ) -> list[Member]:
        """Members of these ids or names who have an e-mail address and are not disabled."""
        ...


class Outbox(Protocol):
    """Messages that are to be sent, and that were."""

    async def wanted(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId,
        trigger: Trigger,
    ) -> list[Notification]:
        """Enabled notifications that tell of this in a workspace."""
        ...

    async def put(self, tx: Tx, deliveries: Collection[Delivery]) -> None:
        """Keep new messages."""
        ...

    async def is_due(
        self, tx: Tx, now: datetime, *, without: Collection[OrganizationId] = ()
    ) -> bool:
        """Whether `claim` would find a message."""
        ...

    async def claim(
        self,
        tx: Tx,
        now: datetime,
        until: datetime,
        *,
        without: Collection[OrganizationId] = (),
    ) -> Claimed | None:
        """The first message of the notification that was longest not sent for.

        The notification is leased until then: nobody else sends for it meanwhile. A
        message waits while one about an earlier change of its task, to the same recipient,
        is pending.

        Args:
            tx: a transaction that writes.
            now: messages that are due by then are looked at.
            until: the end of the lease.
            without: organizations that have enough of their messages under way.
        """
        ...

    async def release(self, tx: Tx, claimed: Claimed, now: datetime) -> None:
        """End a claim's lease, unless it has passed to somebody else."""
        ...

    async def conclude(self, tx: Tx, delivery: Delivery) -> bool:
        """Store what came of a try; False where the message was stopped or tried anew."""
        ...

    async def delivery(
        self, tx: Tx, notification_id: NotificationId, delivery_id: DeliveryId
    ) -> Delivery | None:
        """A notification's message."""
        ...

    async def restart(self, tx: Tx, delivery: Delivery) -> None:
        """Store a message that is to be sent again."""
        ...

    async def page(
        self,
        tx: Tx,
        notification_id: NotificationId,
        status: DeliveryStatus | None,
        page: Page,
    ) -> tuple[list[Delivery], int]:
        """A notification's messages, the last first, and how many there are."""
        ...

    async def stop(
        self, tx: Tx, notification_id: NotificationId, *, why: str, now: datetime
    ) -> int:
        """Give up all pending messages of a notification; how many there were."""
        ...

    async def prune(self, tx: Tx, before: datetime, *, limit: int) -> int:
        """Forget messages made before then, some at a time; how many there were."""
        ...

    async def backlog(self, tx: Tx) -> Backlog:
        """What waits in the whole database."""
        ...


class Workspaces(Protocol):
    """What notifications may know of workspaces (`workspaces.ports.WorkspaceStore`)."""

    async def get(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """A workspace."""
        ...


class Organizations(Protocol):
    """What notifications may know of organizations (`auth.ports.AuthStore`)."""

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """An organization."""
        ...


class Endpoints(Protocol):
    """Judges addresses that users typed, and sends to them (`edge.outgoing.Outgoing`)."""

    def check_url(self, url: str) -> None:
        """Refuse an address that can never be called.

        Raises:
            InvalidInputError: the detail names the field `endpoint_url`.
        """
        ...

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - it bounds the whole call
    ) -> int:
        """Send ``body``; the answer's status code."""
        ...


class MailRelay(Protocol):
    """The way out for e-mail (`notifications.relay.SmtpRelay`)."""

    @property
    def sender(self) -> str:
        """The address that mails come from; empty where no mail is sent."""
        ...

    async def send(self, mail: EmailMessage, *, recipient: str) -> Tried:
        """Hand one mail over to the mail server."""
        ...
