"""Claims calls that are due, and records how they went; nothing is held while one is made."""

import random
from dataclasses import replace
from datetime import datetime

import structlog

from sluice.auth.tokens import hash_secret
from sluice.base.transactions import Tx
from sluice.events.topics import task_topic
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result
from sluice.runtasks.result_tokens import token_of
from sluice.runtasks.results import Conclusion, announce, conclude, failed, held
from sluice.runtasks.schedule import (
    TRIES,
    Answer,
    Called,
    begun,
    may_try_again,
    next_try,
    timed_out,
)
from sluice.runtasks.sender import Sent, send_call
from sluice.tasks.model import Task

CLAIMS = 50
"""So many calls are claimed in one transaction: others have to write as well."""
_logger = structlog.get_logger(__name__)


async def claim_calls(deps: AskingDeps, limit: int) -> list[Result]:
    """Take calls that are due; whoever takes one is to make it.

    The token opens its data from here on, before the service hears of it.
    """
    now = deps.tasks.clock.now()
    async with deps.tasks.transactions.read() as tx:
        if not await deps.store.is_due(tx, now):
            return []
    async with deps.tasks.transactions.write() as tx:
        due = await deps.store.take_due(tx, now, min(limit, CLAIMS))
        # whose time is over is no longer called; `deadlines` ends it
        claimed = [_claimed(deps, one, now) for one in due if not timed_out(one, now)]
        for result in claimed:
            await deps.store.save(tx, result)
    for result in claimed:
        deps.tasks.hub.publish(task_topic(result.task_id))
    return claimed


def _claimed(deps: AskingDeps, result: Result, now: datetime) -> Result:
    calling = begun(result, now)
    return replace(calling, token_hash=hash_secret(token_of(deps.tokens, calling)))


async def make_call(deps: AskingDeps, result: Result) -> None:
    """Make a claimed call and record how it went.

    Cancelled, or cut by the end of the process, it is made again once its lease is over.
    """
    sent = await send_call(deps, result)
    _note(result, sent.called)
    deps.metrics.called(sent.called.answer)
    async with deps.tasks.transactions.write() as tx:
        conclusion = await _record(deps, tx, result, sent)
    if conclusion is not None:
        await announce(deps, conclusion)


def _note(result: Result, called: Called) -> None:
    if called.answer is not Answer.TAKEN:
        _logger.warning(
            "a run task did not take its call",
            run_task=result.name,
            result_id=result.id,
            task_id=result.task_id,
            attempt=result.attempts,
            why=called.why,
        )


async def _record(
    deps: AskingDeps, tx: Tx, made: Result, sent: Sent
) -> Conclusion | None:
    """Store the answer; a callback that came before it stays as it is."""
    found = await held(deps, tx, made.task_id, made.id)
    if found is None:
        return None
    task, result = found
    called = sent.called
    result = replace(
        result,
        http_status=called.http_status,
        request=sent.payload or result.request,
    )
    if result.attempts != made.attempts:  # its lease ran out, another calls by now
        return None
    result = replace(result, call_lease_until=None)
    heard_of = result.final or result.response is not None
    if heard_of or called.answer is Answer.TAKEN:
        message = result.message if heard_of else ""
        taken = replace(result, next_call_at=None, message=message)
        await deps.store.save(tx, taken)
        return Conclusion(task.id)
    return await _not_taken(deps, tx, task, result, called)


async def _not_taken(
    deps: AskingDeps, tx: Tx, task: Task, result: Result, called: Called
) -> Conclusion:
    again = next_try(result, deps.tasks.clock.now(), random.random())  # noqa: S311 - jitter
    if called.answer is Answer.REFUSED or not may_try_again(result, again):
        return await conclude(deps, tx, task, failed(result, called.why))
    message = f"try {result.attempts} of {TRIES}: {called.why}; it is called again"
    await deps.store.save(tx, replace(result, next_call_at=again, message=message))
    return Conclusion(task.id)
