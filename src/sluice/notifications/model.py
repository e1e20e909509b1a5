"""The nouns of notifications: who is told, what happened, and the messages about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.base.ids import (
    DeliveryId,
    NotificationId,
    OrganizationId,
    TaskId,
    UserId,
    WorkspaceId,
)
from sluice.wire.notification import DeliveryStatus, NotificationKind, Trigger


@dataclass(frozen=True, slots=True)
class Notification:
    """Who is told of which happenings.

    Attributes:
        workspace_id: whose tasks; None for those of all workspaces of the organization.
        endpoint: where messages go, without the path; empty for e-mail.
        sealed_url: the whole URL, which may hold a credential.
        sealed_secret: what signs webhooks; None where they are not signed.
        recipients: e-mail addresses.
        user_ids: members of the organization who get e-mail.
        leased_until: until then one server sends for it; in the past, when one last did.
    """

    id: NotificationId
    organization_id: OrganizationId
    workspace_id: WorkspaceId | None
    name: str
    kind: NotificationKind
    triggers: tuple[Trigger, ...]
    enabled: bool
    created_by: str
    created_at: datetime
    updated_at: datetime
    leased_until: datetime
    endpoint: str = ""
    sealed_url: bytes | None = None
    sealed_secret: bytes | None = None
    recipients: tuple[str, ...] = ()
    user_ids: tuple[UserId, ...] = ()

    @property
    def owner_id(self) -> str:
        """Where its name is its own: the workspace, or the organization."""
        return self.workspace_id or self.organization_id

    @property
    def told(self) -> tuple[str, ...]:
        """Whom a message is made for, each; one nameless for what goes to a URL."""
        if self.kind is NotificationKind.EMAIL:
            return (*self.recipients, *self.user_ids)
        return ("",)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message about one happening, for one recipient.

    Attributes:
        version: the task's, which grows with each change: messages about a task go in
            its order.
        content: what is told, as it was when it happened (`payload.py`).
        attempts: tries that were begun.
        next_at: when it is tried (again); None where it is not.
        status_code: of the last answer, HTTP's or SMTP's.
        message: why it is not delivered, in words.
    """

    id: DeliveryId
    notification_id: NotificationId
    organization_id: OrganizationId
    workspace_id: WorkspaceId
    task_id: TaskId
    version: int
    trigger: Trigger
    recipient: str
    content: Mapping[str, Any]
    created_at: datetime
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    next_at: datetime | None = None
    status_code: int | None = None
    message: str = ""
    last_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that one server may send now, and what it needs for that.

    ``notification.leased_until`` names the claim.
    """

    notification: Notification
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages wait, and since when the oldest does."""

    pending: int
    oldest: datetime | None
