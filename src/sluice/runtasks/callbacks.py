"""Takes what a service says of a task: progress, or its verdict."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

from sluice.base.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnauthorizedError,
)
from sluice.base.ids import RunTaskResultId
from sluice.base.transactions import Tx
from sluice.runtasks.callback_bodies import Said, read_callback
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result
from sluice.runtasks.result_tokens import is_token_of
from sluice.runtasks.results import Conclusion, announce, conclude, held
from sluice.runtasks.schedule import heard, timed_out
from sluice.tasks.model import Task
from sluice.wire.run_task import ResultStatus

_ANSWERED = frozenset({ResultStatus.PASSED, ResultStatus.FAILED})
INLINE_BYTES = 64 * 1024
"""A body up to this size is read where it stands; a larger one in a thread."""


async def admit_callback(
    deps: AskingDeps, *, result_id: RunTaskResultId, token: str, address: str
) -> Result:
    """The result that a caller may speak of, before its body is read.

    Raises:
        NotFoundError: there is no such result.
        UnauthorizedError: this is not the result's token.
        ForbiddenError: the run task takes no callbacks from this address.
        ConflictError: the result is final.
        GoneError: its time is over, its task has ended, or its run task was deleted.
    """
    async with deps.tasks.transactions.read() as tx:
        result = await deps.store.get(tx, result_id)
        if result is None:
            raise NotFoundError(f"There is no result {result_id[:80]} of a run task.")
        if not is_token_of(result, token):
            raise UnauthorizedError(
                f"This is not the access token of {result.id}; send the one that came"
                " with the call as `Authorization: Bearer TOKEN`."
            )
        run_task = await deps.definitions.get(tx, result.run_task_id)
    if run_task is None:
        # from where its service might speak is forgotten with it
        raise GoneError(
            f"{result.id} takes no callbacks any more: the run task {result.name} was"
            " deleted."
        )
    if not _is_among(address, run_task.callback_allowed_cidrs):
        raise ForbiddenError(
            f"The run task {result.name} takes no callbacks from {address}; its"
            " callback_allowed_cidrs say from where."
        )
    _check_open(deps, result)
    return result


async def take_callback(
    deps: AskingDeps, *, result_id: RunTaskResultId, token: str, content: bytes
) -> Result:
    """Store what a service says; its verdict, if it is the stage's last, goes to the task.

    Raises:
        InvalidInputError: the body cannot be taken; the detail names the field.
        TooLargeError: an outcome's body is too large.
        ConflictError: the result is final.
        GoneError: its time is over, or its task has ended.
    """
    if len(content) > INLINE_BYTES:
        said = await asyncio.to_thread(read_callback, content)
    else:
        said = read_callback(content)
    async with deps.tasks.transactions.read() as tx:
        known = await deps.store.get(tx, result_id)
    if known is None:
        raise NotFoundError(f"There is no result {result_id[:80]} of a run task.")
    async with deps.tasks.transactions.write() as tx:
        found = await held(deps, tx, known.task_id, result_id)
        if found is None:
            raise GoneError(f"The task of {result_id} is gone.")
        task, result = found
        if not is_token_of(result, token):
            raise UnauthorizedError(f"This is not the access token of {result.id}.")
        _check_open(deps, result)
        conclusion = await _take(deps, tx, task, result, said)
    await announce(deps, conclusion)
    return conclusion.result or known


async def _take(
    deps: AskingDeps, tx: Tx, task: Task, result: Result, said: Said
) -> Conclusion:
    """Store what was said. Progress puts the deadline off; a verdict makes it final."""
    if said.findings is not None:
        await deps.store.put_outcomes(tx, result.id, said.findings)
    # before the first callback the message is ours, about calls that failed
    before = result.message if result.response is not None else ""
    told = replace(
        heard(result, deps.tasks.clock.now()),
        status=said.status,
        message=before if said.message is None else said.message,
        url=result.url if said.url is None else said.url,
        response={
            "status": said.status.value,
            "message": said.message,
            "url": said.url,
            "outcomes": None if said.findings is None else len(said.findings),
        },
    )
    if told.final:
        return await conclude(deps, tx, task, told)
    await deps.store.save(tx, told)
    return Conclusion(task.id, told)


def _check_open(deps: AskingDeps, result: Result) -> None:
    if result.status in _ANSWERED:
        raise ConflictError(
            f"{result.id} is final: {result.status}. What it said cannot be changed."
        )
    if result.final or timed_out(result, deps.tasks.clock.now()):
        raise GoneError(
            f"{result.id} takes no callbacks any more: {_over(result)}.",
        )


def _over(result: Result) -> str:
    match result.status:
        case ResultStatus.ERROR:
            return "its call was given up"
        case ResultStatus.CANCELED | ResultStatus.SKIPPED:
            return "its task has ended"
        case _:
            return "its time is over"


def _is_among(address: str, ranges: Iterable[str]) -> bool:
    """Whether callbacks may come from here; everywhere, where no range is named."""
    wanted = [ip_network(given, strict=False) for given in ranges]
    if not wanted:
        return True
    try:
        caller = ip_address(address)
    except ValueError:  # behind a Unix socket, say
        return False
    mapped = getattr(caller, "ipv4_mapped", None)
    return any((mapped or caller) in network for network in wanted)
