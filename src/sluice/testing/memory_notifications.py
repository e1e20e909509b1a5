"""Notifications and their messages in dicts."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sluice.base.errors import ConflictError
from sluice.base.ids import DeliveryId, NotificationId, OrganizationId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.notifications.model import Backlog, Claimed, Delivery, Notification
from sluice.notifications.ports import Member
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.notification import DeliveryStatus, Trigger

_PENDING = DeliveryStatus.PENDING


class MemoryNotifications:
    """The in-memory twin of `SqlNotificationStore` and `SqlOutbox` together.

    ``people`` are the members who have an e-mail address, by organization.
    """

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[NotificationId, Notification]())
        self._sent = transactions.table(dict[DeliveryId, Delivery]())
        self.people: dict[OrganizationId, list[Member]] = {}

    # --- notifications ---

    async def add(self, tx: Tx, notification: Notification) -> None:
        """Keep a new notification."""
        writing(tx)
        self._put(notification)

    async def get(self, tx: Tx, notification_id: NotificationId) -> Notification | None:
        """A notification."""
        reading(tx)
        return self._rows.get(notification_id)

    async def hold(
        self, tx: Tx, notification_id: NotificationId
    ) -> Notification | None:
        """The notification; transactions run one at a time, so it is held."""
        writing(tx)
        return self._rows.get(notification_id)

    async def owned_by(self, tx: Tx, owner_id: str) -> list[Notification]:
        """A workspace's or an organization's own notifications, by name."""
        reading(tx)
        own = (row for row in self._rows.values() if row.owner_id == owner_id)
        return sorted(own, key=lambda row: row.name)

    async def save(self, tx: Tx, notification: Notification) -> None:
        """Store what people changed."""
        writing(tx)
        present = self._rows.get(notification.id)
        if present is not None:
            self._put(replace(notification, leased_until=present.leased_until))

    async def delete(self, tx: Tx, notification_id: NotificationId) -> None:
        """Forget a notification with its messages."""
        writing(tx)
        self._rows.pop(notification_id, None)
        for row in self._of(notification_id):
            del self._sent[row.id]

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all notifications of a workspace, with their messages."""
        writing(tx)
        for row in list(self._rows.values()):
            if row.workspace_id == workspace_id:
                await self.delete(tx, row.id)

    async def members(
        self, tx: Tx, organization_id: OrganizationId, wanted: Collection[str]
    ) -> list[Member]:
        """Members of these ids or names."""
        reading(tx)
        return [
            member
            for member in self.people.get(organization_id, [])
            if member.user_id in wanted or member.name in wanted
        ]

    # --- messages ---

    async def wanted(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId,
        trigger: Trigger,
    ) -> list[Notification]:
        """Enabled notifications that tell of this in a workspace."""
        reading(tx)
        owners = {workspace_id, organization_id}
        found = (
            row
            for row in self._rows.values()
            if row.owner_id in owners and row.enabled and trigger in row.triggers
        )
        return sorted(found, key=lambda row: row.id)

    async def put(self, tx: Tx, deliveries: Collection[Delivery]) -> None:
        """Keep new messages."""
        writing(tx)
        self._sent.update({delivery.id: delivery for delivery in deliveries})

    async def is_due(
        self, tx: Tx, now: datetime, *, without: Collection[OrganizationId] = ()
    ) -> bool:
        """Whether `claim` would find a message."""
        reading(tx)
        return bool(self._claimable(now, without))

    async def claim(
        self,
        tx: Tx,
        now: datetime,
        until: datetime,
        *,
        without: Collection[OrganizationId] = (),
    ) -> Claimed | None:
        """The first message of the notification that was longest not sent for, leased."""
        writing(tx)
        found = self._claimable(now, without)
        if not found:
            return None
        first = min(found, key=lambda row: (row.leased_until, row.id))
        leased = replace(first, leased_until=until)
        self._rows[leased.id] = leased
        message = min(
            self._ready(first.id, now),
            key=lambda row: (row.next_at or now, row.version, row.id),
        )
        return Claimed(leased, message)

    async def release(self, tx: Tx, claimed: Claimed, now: datetime) -> None:
        """End a claim's lease, unless it has passed to somebody else."""
        writing(tx)
        present = self._rows.get(claimed.notification.id)
        mine = claimed.notification.leased_until
        if present is not None and present.leased_until == mine:
            self._rows[present.id] = replace(present, leased_until=now)

    async def conclude(self, tx: Tx, delivery: Delivery) -> bool:
        """Store what came of a try, where the message is still that one's."""
        writing(tx)
        present = self._sent.get(delivery.id)
        if present is None or present.status is not _PENDING:
            return False
        if present.attempts not in {delivery.attempts - 1, delivery.attempts}:
            return False
        self._sent[delivery.id] = delivery
        return True

    async def delivery(
        self, tx: Tx, notification_id: NotificationId, delivery_id: DeliveryId
    ) -> Delivery | None:
        """A notification's message."""
        reading(tx)
        row = self._sent.get(delivery_id)
        return row if row and row.notification_id == notification_id else None

    async def restart(self, tx: Tx, delivery: Delivery) -> None:
        """Store a message that is to be sent again."""
        writing(tx)
        if delivery.id in self._sent:
            self._sent[delivery.id] = delivery

    async def page(
        self,
        tx: Tx,
        notification_id: NotificationId,
        status: DeliveryStatus | None,
        page: Page,
    ) -> tuple[list[Delivery], int]:
        """A notification's messages, the last first, and how many there are."""
        reading(tx)
        own = [
            row
            for row in self._of(notification_id)
            if status is None or row.status is status
        ]
        own.sort(key=lambda row: row.id)
        own.sort(key=lambda row: (row.created_at, row.version), reverse=True)
        return own[page.offset : page.offset + page.limit], len(own)

    async def stop(
        self, tx: Tx, notification_id: NotificationId, *, why: str, now: datetime
    ) -> int:
        """Give up all pending messages of a notification; how many there were."""
        writing(tx)
        waiting = [row for row in self._of(notification_id) if row.status is _PENDING]
        for row in waiting:
            self._sent[row.id] = replace(
                row,
                status=DeliveryStatus.STOPPED,
                next_at=None,
                message=why,
                completed_at=now,
            )
        return len(waiting)

    async def prune(self, tx: Tx, before: datetime, *, limit: int) -> int:
        """Forget messages made before then, some at a time; how many there were."""
        writing(tx)
        old = [row.id for row in self._sent.values() if row.created_at < before][:limit]
        for delivery_id in old:
            del self._sent[delivery_id]
        return len(old)

    async def backlog(self, tx: Tx) -> Backlog:
        """What waits."""
        reading(tx)
        waiting = [
            row.created_at
            for row in self._sent.values()
            if row.status is _PENDING and row.notification_id in self._rows
        ]
        return Backlog(len(waiting), min(waiting, default=None))

    def _of(self, notification_id: NotificationId) -> list[Delivery]:
        return [
            row for row in self._sent.values() if row.notification_id == notification_id
        ]

    def _claimable(
        self, now: datetime, without: Collection[OrganizationId]
    ) -> list[Notification]:
        return [
            row
            for row in self._rows.values()
            if row.enabled
            and row.leased_until <= now
            and row.organization_id not in without
            and self._ready(row.id, now)
        ]

    def _ready(self, notification_id: NotificationId, now: datetime) -> list[Delivery]:
        waiting = [row for row in self._of(notification_id) if row.status is _PENDING]

        def is_first(row: Delivery) -> bool:
            return not any(
                (other.task_id, other.recipient) == (row.task_id, row.recipient)
                and other.version < row.version
                for other in waiting
            )

        return [
            row
            for row in waiting
            if row.next_at is not None and row.next_at <= now and is_first(row)
        ]

    def _put(self, notification: Notification) -> None:
        for row in self._rows.values():
            same = (row.owner_id, row.name) == (
                notification.owner_id,
                notification.name,
            )
            if same and row.id != notification.id:
                raise ConflictError(
                    f"There is a notification {notification.name!r} here already; "
                    "choose another name."
                )
        self._rows[notification.id] = notification
