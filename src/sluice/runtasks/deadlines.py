"""Ends results whose time is over, and answers at gates where nothing is waited for any more."""

from dataclasses import replace

import structlog

from sluice.base.errors import SluiceError
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result, StageOfTask
from sluice.runtasks.results import (
    Conclusion,
    announce,
    answer_if_complete,
    conclude,
    held,
)
from sluice.runtasks.schedule import LONGEST, timed_out
from sluice.wire.run_task import ResultStatus

AT_ONCE = 200
"""So many are looked at in one look; the others have their turn a second later."""
_logger = structlog.get_logger(__name__)


async def end_overdue(deps: AskingDeps) -> None:
    """End results that nothing was heard of in time.

    Each is looked at again in a transaction of its own: its service may have called back.
    """
    now = deps.tasks.clock.now()
    async with deps.tasks.transactions.read() as tx:
        overdue = await deps.store.overdue(tx, now, AT_ONCE)
    for result in overdue:
        try:
            await _end(deps, result)
        except SluiceError as error:
            _logger.warning("stays open", result_id=result.id, detail=error.detail)


async def _end(deps: AskingDeps, seen: Result) -> None:
    async with deps.tasks.transactions.write() as tx:
        found = await held(deps, tx, seen.task_id, seen.id)
        if found is None:
            return
        task, result = found
        if result.final or not timed_out(result, deps.tasks.clock.now()):
            return
        late = replace(result, status=ResultStatus.TIMEOUT, message=_why(result))
        conclusion = await conclude(deps, tx, task, late)
    await announce(deps, conclusion)


def _why(result: Result) -> str:
    if result.timeout_at == result.last_timeout_at:
        minutes = round(LONGEST.total_seconds() / 60)
        return f"it was not done {minutes} minutes after the call"
    return f"nothing was heard of it for {result.timeout_seconds} seconds"


async def answer_left_over(deps: AskingDeps) -> None:
    """Answer at gates at which every result is final and nobody has answered."""
    async with deps.tasks.transactions.read() as tx:
        waiting = await deps.store.unanswered(tx, AT_ONCE)
    for stage in waiting:
        try:
            await _answer(deps, stage)
        except SluiceError as error:
            _logger.warning("not answered", task_id=stage.task_id, detail=error.detail)


async def _answer(deps: AskingDeps, stage: StageOfTask) -> None:
    async with deps.tasks.transactions.write() as tx:
        task = await deps.tasks.store.lock(tx, stage.task_id)
        if task is None:
            return
        change = await answer_if_complete(deps, tx, task, stage.stage)
    await announce(deps, Conclusion(stage.task_id, change=change))
