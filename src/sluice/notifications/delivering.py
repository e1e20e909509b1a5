"""Takes a message that is due, has it sent, and keeps what came of it."""

import random
from collections.abc import Collection
from datetime import timedelta

import structlog

from sluice.base.ids import OrganizationId
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.model import Claimed
from sluice.notifications.schedule import (
    LEASE,
    TRIES,
    Outcome,
    Tried,
    begun,
    concluded,
)
from sluice.notifications.sender import send
from sluice.wire.notification import DeliveryStatus

PRUNED_AT_ONCE = 500
_logger = structlog.get_logger(__name__)


async def claim(
    deps: NotificationDeps, *, without: Collection[OrganizationId] = ()
) -> Claimed | None:
    """A message that this server may send now; None where there is none.

    Args:
        deps: what it works with.
        without: organizations that have enough of their messages under way.
    """
    now = deps.clock.now()
    async with deps.transactions.read() as tx:
        # most looks find nothing, and need not stand in line to write
        if not await deps.outbox.is_due(tx, now, without=without):
            return None
    async with deps.transactions.write() as tx:
        found = await deps.outbox.claim(tx, now, now + LEASE, without=without)
        if found is None:
            return None
        delivery = begun(found.delivery, now)
        await deps.outbox.conclude(tx, delivery)
        return Claimed(found.notification, delivery)


async def deliver(deps: NotificationDeps, claimed: Claimed) -> None:
    """Send a claimed message and keep what came of it.

    Who is cancelled, or killed, leaves it to the end of its lease: then it is sent again,
    under the same id.
    """
    notification, delivery = claimed.notification, claimed.delivery
    if delivery.attempts > TRIES:
        why = "its last try did not come to an end"
        tried = Tried(Outcome.REFUSED, None, why)
    else:
        tried = await send(
            deps,
            notification,
            delivery.content,
            message_id=delivery.id,
            recipient=delivery.recipient,
        )
    now = deps.clock.now()
    luck = random.random()  # noqa: S311 - it spreads tries, and protects nothing
    done = concluded(delivery, tried, now, luck=luck)
    async with deps.transactions.write() as tx:
        kept = await deps.outbox.conclude(tx, done)
        await deps.outbox.release(tx, claimed, now)
    deps.metrics.tried(notification.kind, tried.outcome)
    if kept and done.status is DeliveryStatus.FAILED:
        deps.metrics.given_up(notification.kind)
    if tried.outcome is not Outcome.SENT:
        _logger.warning(
            "a notification was not taken",
            notification_id=notification.id,
            delivery_id=delivery.id,
            attempts=delivery.attempts,
            reason=tried.why,
        )


async def count_waiting(deps: NotificationDeps) -> None:
    """Take what waits over into the metrics."""
    async with deps.transactions.read() as tx:
        backlog = await deps.outbox.backlog(tx)
    deps.metrics.waiting(backlog, deps.clock.now())


async def prune(deps: NotificationDeps) -> None:
    """Forget messages whose time is over."""
    before = deps.clock.now() - timedelta(days=deps.keep_days)
    while True:
        async with deps.transactions.write() as tx:
            gone = await deps.outbox.prune(tx, before, limit=PRUNED_AT_ONCE)
        if gone < PRUNED_AT_ONCE:
            return
