"""Looks each second for what nobody else would ever look at again.

Leases that ran out and ended tasks whose log is still open are left behind by a process
that was killed, or an agent that was lost. Tasks before their first gate wait for their turn.
"""

import asyncio
from datetime import timedelta
from typing import NoReturn

import structlog

from sluice.events.topics import QUEUE
from sluice.tasks.changes import seal_or_leave
from sluice.tasks.deps import TaskDeps
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.leases import expire_leases

EVERY_SECONDS = 1.0
GATES_PAUSE_SECONDS = 0.05
"""At least so long between two looks at gates."""
LEFT_OVER_AFTER = timedelta(seconds=5)
"""Younger ones are being sealed by the action that ended them."""

_logger = structlog.get_logger(__name__)


async def watch_tasks(deps: TaskDeps) -> NoReturn:
    """Run until cancelled; a database that is away for a while does not end it.

    After a start no lease ends for the length of one: while the server was down, agents
    that are well could not renew theirs.
    """
    _logger.info("watching leases and open logs")
    begin = deps.clock.monotonic()
    try:
        while True:
            await look_at_logs(deps)
            if deps.clock.monotonic() - begin >= deps.lease_seconds:
                await look_at_leases(deps)
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        _logger.info("no longer watching leases and open logs")


async def watch_gates(deps: TaskDeps) -> NoReturn:
    """Bring tasks to their first gate when their turn comes; run until cancelled."""
    _logger.info("watching gates")
    try:
        with deps.hub.subscribe(QUEUE) as woken:
            while True:
                await look_at_gates(deps)
                # a busy queue wakes many times a second: one look serves them all
                await asyncio.sleep(GATES_PAUSE_SECONDS)
                await woken.wait(EVERY_SECONDS)
    finally:
        _logger.info("no longer watching gates")


async def look_at_gates(deps: TaskDeps) -> None:
    """Open gates; what cannot be done now is done by a later look."""
    try:
        await open_gates(deps)
    except Exception:  # the loop outlives a database that is away
        _logger.exception("cannot look after gates")


async def look_at_leases(deps: TaskDeps) -> None:
    """Deal with leases that ran out; what cannot be done now is done by a later look."""
    try:
        await expire_leases(deps)
    except Exception:  # the loop outlives a database that is away
        _logger.exception("cannot look after leases")


async def look_at_logs(deps: TaskDeps) -> None:
    """Seal what was left open; what cannot be done now is done by a later look."""
    try:
        await seal_leftovers(deps)
    except Exception:  # as above
        _logger.exception("cannot look after open logs")


async def seal_leftovers(deps: TaskDeps) -> None:
    """Seal the logs of tasks that ended a while ago."""
    async with deps.transactions.read() as tx:
        before = deps.clock.now() - LEFT_OVER_AFTER
        task_ids = await deps.store.unsealed(tx, before)
        tasks = [await deps.store.get(tx, task_id) for task_id in task_ids]
    for task in tasks:
        if task is not None:
            await seal_or_leave(deps, task)
