"""Lets a task pass afterwards at the gate where it failed: its saved plan may be applied."""

from dataclasses import replace

from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.gates import AFTER_PLAN
from sluice.tasks.model import ActionRecord, Gate, Task, TaskState


def failed_at(task: Task, gate: Gate) -> bool:
    """Whether the task has failed at this gate with a plan that could still be applied."""
    behind_plan = gate in AFTER_PLAN or gate is Gate.PRE_APPLY
    planned = task.plan_blob is not None or task.plan_task_id is not None
    return (
        task.state is TaskState.FAILED and task.gate is gate and behind_plan and planned
    )


async def let_pass(deps: TaskDeps, tx: Tx, task: Task) -> Task:
    """Remember that a locked task, failed at a gate, was let pass there; once."""
    if task.gate_overridden:
        return task
    return await deps.store.save(tx, replace(task, gate_overridden=True))


async def note_override(
    deps: TaskDeps, tx: Tx, *, task_id: TaskId, actor: str, reason: str
) -> None:
    """Show with the task who overrode an answer at one of its gates, and why."""
    record = ActionRecord("override", actor, reason, deps.clock.now())
    await deps.store.add_action(tx, task_id, record)
