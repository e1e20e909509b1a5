"""Brings tasks to the gates before their first phase, and takes the answers of keepers."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from sluice.base.errors import SluiceError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.tasks.changes import Change, happen, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import GateAnswered, GateReached
from sluice.tasks.gates import Verdict, entry, left_after, possible
from sluice.tasks.lifecycle import allows
from sluice.tasks.model import Gate, Task, TaskState

__all__ = ["answer_gate", "describe", "open_gates", "plan_gates", "tell"]

AT_ONCE = 200
"""So many tasks at most are brought to their first gate in one look."""

_logger = structlog.get_logger(__name__)


async def plan_gates(deps: TaskDeps, tx: Tx, task: Task) -> Task:
    """Have the keepers remember what they will ask about a task that was just inserted."""
    coming = await _possible(deps, tx, task)
    wanted: set[Gate] = set()
    for keeper in deps.keepers:
        wanted |= await keeper.plan(tx, task, coming) & coming
    if not wanted:
        return task
    planned = _with_gates(task, frozenset(wanted))
    return await deps.store.save(tx, planned)


async def _possible(deps: TaskDeps, tx: Tx, task: Task) -> frozenset[Gate]:
    coming = frozenset(possible(task.task_type))
    if task.plan_task_id is None:
        return coming
    plan = await deps.store.get(tx, task.plan_task_id)
    return coming if plan is None else coming | left_after(plan)


def _with_gates(task: Task, wanted: frozenset[Gate]) -> Task:
    stopping = replace(task, gates=wanted)
    return replace(stopping, gate=entry(stopping))


async def open_gates(deps: TaskDeps) -> None:
    """Bring tasks whose turn it is to the gate before their first phase.

    One that cannot be brought there now keeps none of the others waiting.
    """
    async with deps.transactions.read() as tx:
        waiting = await deps.store.before_gate(tx, limit=AT_ONCE)
    for task_id in waiting:
        try:
            await _reach(deps, task_id)
        except SluiceError as error:
            _logger.warning("gate stays closed", task_id=task_id, detail=error.detail)


async def _reach(deps: TaskDeps, task_id: TaskId) -> None:
    async with deps.transactions.write() as tx:
        task = await deps.store.lock(tx, task_id)
        if task is None or task.state is not TaskState.QUEUED or task.gate is None:
            return
        change = await happen(deps, tx, task, GateReached())
    await tell(deps, change)


async def answer_gate(
    deps: TaskDeps, tx: Tx, *, task_id: TaskId, gate: Gate, verdict: Verdict
) -> Change | None:
    """Let a task go on from the gate at which it stands, be blocked there, or fail.

    A blocked one may be answered again, once somebody has let pass what was refused.

    Joins the caller's transaction, in which the caller remembers that it has answered.
    After the commit the caller passes what it got to `tell`. Who has rows of its own to
    lock calls `TaskStore.lock` before that: a cancel locks the task first, too.

    Returns:
        None where the task does not stand at that gate (any more): nothing was changed.
    """
    task = await deps.store.lock(tx, task_id)
    if task is None or not allows(task, GateAnswered) or task.gate is not gate:
        return None
    return await happen(deps, tx, task, GateAnswered(gate, verdict))


async def describe(deps: TaskDeps, tx: Tx, tasks: Sequence[Task]) -> dict[TaskId, str]:
    """What tasks that stand at a gate wait for, as their keepers say it."""
    standing = [task for task in tasks if task.state is TaskState.AT_GATE]
    words: dict[TaskId, str] = {}
    if standing:
        for keeper in deps.keepers:
            words.update(await keeper.describe(tx, standing))
    return words
