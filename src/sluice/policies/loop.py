"""Evaluates policies of tasks that come to their gate, a few tasks at once.

It looks every other second by itself: a lost wake-up delays and never stalls.
"""

import asyncio

import structlog

from sluice.events.topics import GATES
from sluice.policies.deps import PolicyDeps
from sluice.policies.evaluating import evaluate_next

EVERY_SECONDS = 2.0
_logger = structlog.get_logger(__name__)


async def watch_policies(deps: PolicyDeps) -> None:
    """Run until cancelled; a database that is away for a while does not end it."""
    _logger.info("evaluating policies", at_once=deps.at_once)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(deps.at_once):
                group.create_task(_work(deps, group))
    finally:
        _logger.info("no longer evaluating policies")


async def _work(deps: PolicyDeps, group: asyncio.TaskGroup) -> None:
    with deps.tasks.hub.subscribe(GATES) as woken:
        while True:
            if not await look(deps, group):
                await woken.wait(EVERY_SECONDS)


async def look(deps: PolicyDeps, group: asyncio.TaskGroup) -> bool:
    """Evaluate one task's policies; False where there was none, or it could not be done."""
    try:
        return await evaluate_next(deps, group)
    except Exception:  # the loop outlives a database or a blob store that is away
        _logger.exception("policies cannot be evaluated")
        return False
