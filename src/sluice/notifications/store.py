"""Notifications and their messages in the database."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from sluice.auth.tables import memberships, users
from sluice.base.errors import ConflictError
from sluice.base.ids import DeliveryId, NotificationId, OrganizationId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.notifications.model import Backlog, Claimed, Delivery, Notification
from sluice.notifications.ports import Member
from sluice.notifications.rows import (
    delivery_of,
    delivery_values,
    notification_of,
    notification_values,
)
from sluice.notifications.tables import notification_deliveries, notifications
from sluice.wire.notification import DeliveryStatus, Trigger

# in the statement itself: an index of pending rows alone serves no bound value
_PENDING: ColumnElement[str] = literal_column(f"'{DeliveryStatus.PENDING.value}'")
_sent = notification_deliveries.c


class SqlNotificationStore:
    """Notifications, in SQLite or PostgreSQL."""

    async def add(self, tx: Tx, notification: Notification) -> None:
        """Keep a new notification; ConflictError where the name is taken."""
        values = {
            **notification_values(notification),
            "leased_until": notification.leased_until,
        }
        async with _name_of_its_own(notification):
            await connection_of(tx).execute(insert(notifications).values(values))

    async def get(self, tx: Tx, notification_id: NotificationId) -> Notification | None:
        """A notification."""
        return await _one(tx, _by_id(notification_id))

    async def hold(
        self, tx: Tx, notification_id: NotificationId
    ) -> Notification | None:
        """The notification, its row locked."""
        return await _one(tx, _by_id(notification_id).with_for_update())

    async def owned_by(self, tx: Tx, owner_id: str) -> list[Notification]:
        """A workspace's or an organization's own notifications, by name."""
        return await _all(
            tx,
            select(notifications)
            .where(notifications.c.owner_id == owner_id)
            .order_by(notifications.c.name),
        )

    async def save(self, tx: Tx, notification: Notification) -> None:
        """Store what people changed; ConflictError where the name is taken."""
        change = update(notifications).where(notifications.c.id == notification.id)
        async with _name_of_its_own(notification):
            await connection_of(tx).execute(
                change.values(notification_values(notification))
            )

    async def delete(self, tx: Tx, notification_id: NotificationId) -> None:
        """Forget a notification with its messages."""
        connection = connection_of(tx)
        await connection.execute(
            delete(notification_deliveries).where(
                _sent.notification_id == notification_id
            )
        )
        await connection.execute(
            delete(notifications).where(notifications.c.id == notification_id)
        )

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all notifications of a workspace, with their messages."""
        own = notifications.c.workspace_id == workspace_id
        connection = connection_of(tx)
        await connection.execute(
            delete(notification_deliveries).where(
                _sent.notification_id.in_(select(notifications.c.id).where(own))
            )
        )
        await connection.execute(delete(notifications).where(own))

    async def members(
        self, tx: Tx, organization_id: OrganizationId, wanted: Collection[str]
    ) -> list[Member]:
        """Members of these ids or names who have an e-mail address and are not disabled."""
        rows = await connection_of(tx).execute(
            select(users.c.id, users.c.name, users.c.email)
            .join_from(users, memberships, memberships.c.user_id == users.c.id)
            .where(
                memberships.c.organization_id == organization_id,
                or_(among(users.c.id, wanted), among(users.c.name, wanted)),
                users.c.email.is_not(None),
                users.c.disabled_at.is_(None),
            )
        )
        return [Member(row.id, row.name, row.email) for row in rows]


class SqlOutbox:
    """Messages, in SQLite or PostgreSQL."""

    async def wanted(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId,
        trigger: Trigger,
    ) -> list[Notification]:
        """Enabled notifications that tell of this in a workspace."""
        found = await _all(
            tx,
            select(notifications)
            .where(
                # the workspace's own, and the organization's
                notifications.c.owner_id.in_([workspace_id, organization_id]),
                notifications.c.enabled.is_(True),
            )
            .order_by(notifications.c.id),
        )
        return [one for one in found if trigger in one.triggers]

    async def put(self, tx: Tx, deliveries: Collection[Delivery]) -> None:
        """Keep new messages."""
        if deliveries:
            await connection_of(tx).execute(
                insert(notification_deliveries),
                [delivery_values(delivery) for delivery in deliveries],
            )

    async def is_due(
        self, tx: Tx, now: datetime, *, without: Collection[OrganizationId] = ()
    ) -> bool:
        """Whether `claim` would find a message."""
        found = select(notifications.c.id).where(*_claimable(now, without)).limit(1)
        return await connection_of(tx).scalar(found) is not None

    async def claim(
        self,
        tx: Tx,
        now: datetime,
        until: datetime,
        *,
        without: Collection[OrganizationId] = (),
    ) -> Claimed | None:
        """The first message of the notification that was longest not sent for, leased."""
        connection = connection_of(tx)
        columns = notifications.c
        query = (
            select(notifications)
            .where(*_claimable(now, without))
            .order_by(columns.leased_until, columns.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        notification = await _one(tx, query)
        if notification is None:
            return None
        first = (
            select(notification_deliveries)
            .where(_sent.notification_id == notification.id, *_ready(now))
            .order_by(_sent.next_at, _sent.version, _sent.id)
            .limit(1)
        )
        row = (await connection.execute(first)).mappings().one_or_none()
        if row is None:
            return None
        await connection.execute(
            update(notifications)
            .where(columns.id == notification.id)
            .values(leased_until=until)
        )
        return Claimed(replace(notification, leased_until=until), delivery_of(row))

    async def release(self, tx: Tx, claimed: Claimed, now: datetime) -> None:
        """End a claim's lease, unless it has passed to somebody else."""
        await connection_of(tx).execute(
            update(notifications)
            .where(
                notifications.c.id == claimed.notification.id,
                notifications.c.leased_until == claimed.notification.leased_until,
            )
            .values(leased_until=now)
        )

    async def conclude(self, tx: Tx, delivery: Delivery) -> bool:
        """Store what came of a try, where the message is still that one's."""
        done = await connection_of(tx).execute(
            update(notification_deliveries)
            .where(
                _sent.id == delivery.id,
                _sent.status == _PENDING,
                # the try before this one: it is counted with its end, or its start
                _sent.attempts.between(delivery.attempts - 1, delivery.attempts),
            )
            .values(delivery_values(delivery))
        )
        return done.rowcount == 1

    async def delivery(
        self, tx: Tx, notification_id: NotificationId, delivery_id: DeliveryId
    ) -> Delivery | None:
        """A notification's message."""
        rows = await connection_of(tx).execute(
            select(notification_deliveries).where(
                _sent.id == delivery_id, _sent.notification_id == notification_id
            )
        )
        row = rows.mappings().one_or_none()
        return None if row is None else delivery_of(row)

    async def restart(self, tx: Tx, delivery: Delivery) -> None:
        """Store a message that is to be sent again."""
        await connection_of(tx).execute(
            update(notification_deliveries)
            .where(_sent.id == delivery.id)
            .values(delivery_values(delivery))
        )

    async def page(
        self,
        tx: Tx,
        notification_id: NotificationId,
        status: DeliveryStatus | None,
        page: Page,
    ) -> tuple[list[Delivery], int]:
        """A notification's messages, the last first, and how many there are."""
        own: list[ColumnElement[bool]] = [_sent.notification_id == notification_id]
        if status is not None:
            own.append(_sent.status == status.value)
        connection = connection_of(tx)
        count = select(func.count()).select_from(notification_deliveries).where(*own)
        rows = await connection.execute(
            select(notification_deliveries)
            .where(*own)
            .order_by(_sent.created_at.desc(), _sent.version.desc(), _sent.id)
            .limit(page.limit)
            .offset(page.offset)
        )
        found = [delivery_of(row) for row in rows.mappings()]
        return found, await connection.scalar(count) or 0

    async def stop(
        self, tx: Tx, notification_id: NotificationId, *, why: str, now: datetime
    ) -> int:
        """Give up all pending messages of a notification; how many there were."""
        done = await connection_of(tx).execute(
            update(notification_deliveries)
            .where(_sent.notification_id == notification_id, _sent.status == _PENDING)
            .values(
                status=DeliveryStatus.STOPPED.value,
                next_at=None,
                message=why,
                completed_at=now,
            )
        )
        return done.rowcount

    async def prune(self, tx: Tx, before: datetime, *, limit: int) -> int:
        """Forget messages made before then, some at a time; how many there were."""
        old = select(_sent.id).where(_sent.created_at < before).limit(limit)
        done = await connection_of(tx).execute(
            delete(notification_deliveries).where(_sent.id.in_(old))
        )
        return done.rowcount

    async def backlog(self, tx: Tx) -> Backlog:
        """What waits in the whole database; not what nobody will send."""
        rows = await connection_of(tx).execute(
            select(func.count(), func.min(_sent.created_at))
            .join_from(
                notification_deliveries,
                notifications,
                notifications.c.id == _sent.notification_id,
            )
            .where(_sent.status == _PENDING)
        )
        pending, oldest = rows.one()
        return Backlog(pending, oldest)


def _claimable(
    now: datetime, without: Collection[OrganizationId]
) -> list[ColumnElement[bool]]:
    """A notification that nobody sends for has a message whose turn it is."""
    columns = notifications.c
    found: list[ColumnElement[bool]] = [
        columns.enabled.is_(True),
        columns.leased_until <= now,
        exists().where(_sent.notification_id == columns.id, *_ready(now)),
    ]
    if without:
        found.append(~among(columns.organization_id, without))
    return found


def _ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """A message is due, and none about an earlier change of its task waits before it."""
    earlier = notification_deliveries.alias("earlier")
    waiting = exists().where(
        earlier.c.notification_id == _sent.notification_id,
        earlier.c.task_id == _sent.task_id,
        earlier.c.recipient == _sent.recipient,
        earlier.c.status == _PENDING,
        earlier.c.version < _sent.version,
    )
    return (_sent.status == _PENDING, _sent.next_at <= now, ~waiting)


def _by_id(notification_id: NotificationId) -> Select[Any]:
    return select(notifications).where(notifications.c.id == notification_id)


async def _one(tx: Tx, query: Select[Any]) -> Notification | None:
    row = (await connection_of(tx).execute(query)).mappings().one_or_none()
    return None if row is None else notification_of(row)


async def _all(tx: Tx, query: Select[Any]) -> list[Notification]:
    rows: Collection[RowMapping] = (
        (await connection_of(tx).execute(query)).mappings().all()
    )
    return [notification_of(row) for row in rows]


@asynccontextmanager
async def _name_of_its_own(notification: Notification) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(
            f"There is a notification {notification.name!r} here already; "
            "choose another name."
        ) from error
