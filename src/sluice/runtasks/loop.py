"""Asks services at gates: makes calls that are due, ends what is overdue, answers what is left.

It is woken when a task comes to a gate and looks again each second, so calls and
deadlines survive a restart, and what one server leaves behind another takes up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from sluice.events.hub import Subscription
from sluice.events.topics import GATES
from sluice.runtasks.calls import claim_calls, make_call
from sluice.runtasks.deadlines import answer_left_over, end_overdue
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result

EVERY_SECONDS = 1.0
_logger = structlog.get_logger(__name__)


async def ask_run_tasks(deps: AskingDeps) -> NoReturn:
    """Run until cancelled; a database that is away for a while does not end it.

    Cancelled, it leaves the calls that are being made to their leases: another server, or
    this one after its start, makes them again.
    """
    _logger.info("asking run tasks")
    try:
        with deps.tasks.hub.subscribe(GATES) as woken:
            async with asyncio.TaskGroup() as group:
                calls, now = _Calls(deps, group, woken), asyncio.get_running_loop().time
                look_again = now()
                while True:
                    if now() >= look_again:
                        look_again = now() + EVERY_SECONDS
                        await look_around(deps)
                    await _survive(calls.begin, deps)
                    await woken.wait(max(0.0, look_again - now()))
    finally:
        _logger.info("no longer asking run tasks")


async def look_around(deps: AskingDeps) -> None:
    """End what is overdue, answer what is left over, and count what is open."""
    for step in (end_overdue, answer_left_over, count_open):
        await _survive(step, deps)


async def count_open(deps: AskingDeps) -> None:
    """Take the number of open results over into the metrics."""
    async with deps.tasks.transactions.read() as tx:
        deps.metrics.open(await deps.store.count_open(tx))


class _Calls:
    """The calls that are being made, each in a task of its own."""

    def __init__(
        self, deps: AskingDeps, group: asyncio.TaskGroup, woken: Subscription
    ) -> None:
        self._deps = deps
        self._group = group
        self._woken = woken
        self._made = 0

    async def begin(self, deps: AskingDeps) -> None:
        """Claim as many calls as there is room for, and begin to make them."""
        room = deps.calls_at_once - self._made
        while room > 0 and (claimed := await claim_calls(deps, room)):
            self._made += len(claimed)
            room -= len(claimed)
            for result in claimed:
                self._group.create_task(self._make(result), name=f"call {result.id}")

    async def _make(self, result: Result) -> None:
        full = self._made >= self._deps.calls_at_once
        try:
            await make_call(self._deps, result)
        except Exception:  # one call that fails must not end all others
            _logger.exception("a call to a run task failed", result_id=result.id)
        finally:
            self._made -= 1
            if full:
                self._woken.notify()


async def _survive(
    step: Callable[[AskingDeps], Awaitable[None]], deps: AskingDeps
) -> None:
    """Take a step; what cannot be done now is done by a later look."""
    try:
        await step(deps)
    except Exception:  # the loop outlives a database that is away
        _logger.exception("cannot look after run tasks", step=step.__name__)
