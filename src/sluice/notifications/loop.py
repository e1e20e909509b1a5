"""Sends messages that are due: several at a time, one for each notification.

It looks each second and is woken by what people ask for, so messages and retries survive a
restart, and what one server leaves behind another takes up.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from sluice.base.ids import OrganizationId
from sluice.events.hub import Subscription
from sluice.events.topics import NOTIFICATIONS
from sluice.notifications.delivering import claim, count_waiting, deliver, prune
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.model import Claimed

EVERY_SECONDS = 1.0
COUNT_EVERY = 15.0
PRUNE_EVERY = 600.0
SHARE = 4
"""One organization has at most a quarter of what is sent at once."""

_logger = structlog.get_logger(__name__)


async def send_notifications(deps: NotificationDeps) -> NoReturn:
    """Run until cancelled; a database that is away for a while does not end it.

    Cancelled, it leaves what is being sent to its leases: another server, or this one after
    its start, sends it again.
    """
    _logger.info("sending notifications")
    try:
        with deps.hub.subscribe(NOTIFICATIONS) as woken:
            async with asyncio.TaskGroup() as group:
                sending = _Sending(deps, group, woken)
                every = {count_waiting: COUNT_EVERY, prune: PRUNE_EVERY}
                due = dict.fromkeys(every, 0.0)
                now = asyncio.get_running_loop().time
                while True:
                    for step, seconds in every.items():
                        if now() >= due[step]:
                            due[step] = now() + seconds
                            await _survive(step, deps)
                    await _survive(sending.begin, deps)
                    await woken.wait(EVERY_SECONDS)
    finally:
        _logger.info("no longer sending notifications")


class _Sending:
    """What is being sent, each in a task of its own."""

    def __init__(
        self, deps: NotificationDeps, group: asyncio.TaskGroup, woken: Subscription
    ) -> None:
        self._deps = deps
        self._group = group
        self._woken = woken
        self._under_way = Counter[OrganizationId]()
        self._share = max(1, deps.at_once // SHARE)

    async def begin(self, deps: NotificationDeps) -> None:
        """Claim as many messages as there is room for, and begin to send them."""
        while self._under_way.total() < deps.at_once:
            full = [
                organization_id
                for organization_id, count in self._under_way.items()
                if count >= self._share
            ]
            claimed = await claim(deps, without=full)
            if claimed is None:
                return
            self._under_way[claimed.notification.organization_id] += 1
            name = f"notify {claimed.delivery.id}"
            self._group.create_task(self._send(claimed), name=name)

    async def _send(self, claimed: Claimed) -> None:
        try:
            await deliver(self._deps, claimed)
        except Exception:  # one message that fails must not end all others
            _logger.exception("a notification failed", delivery_id=claimed.delivery.id)
        finally:
            self._under_way[claimed.notification.organization_id] -= 1
            self._woken.notify()


async def _survive(
    step: Callable[[NotificationDeps], Awaitable[None]], deps: NotificationDeps
) -> None:
    """Take a step; what cannot be done now is done by a later look."""
    try:
        await step(deps)
    except Exception:  # the loop outlives a database that is away
        _logger.exception("cannot look after notifications", step=step.__name__)
