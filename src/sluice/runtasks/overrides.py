"""Lets a failed mandatory result pass: while the task stands there, or after it failed there."""

from dataclasses import replace

from sluice.auth.audit_entries import new_entry
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import RunTaskResultId, TaskId
from sluice.base.transactions import Tx
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Override, Result, StageOfTask
from sluice.runtasks.results import (
    Conclusion,
    announce,
    answer_if_complete,
    find_stage,
    held,
    results_of,
    stands_at,
)
from sluice.runtasks.verdicts import FAILURES, stops
from sluice.tasks.model import Gate, Task
from sluice.tasks.overrides import failed_at, let_pass, note_override
from sluice.wire.run_task import EnforcementLevel, RunTaskStage

ACTION = "run_task_result.override"


def why_not(task: Task, stage: StageOfTask, result: Result) -> str:
    """Why this result cannot be overridden now; empty where it can."""
    if result.level is not EnforcementLevel.MANDATORY:
        return "it is advisory, so it stops nothing"
    if result.status not in FAILURES:
        return f"it is {result.status}; only failed, error and timeout are overridden"
    if result.override is not None:
        return f"{result.override.by} has overridden it already"
    gate = Gate(stage.stage.value)
    is_open = stage.answered_at is None or stands_at(task, stage.stage)
    if is_open or failed_at(task, gate):
        return ""
    if stage.stage is RunTaskStage.PRE_PLAN:
        return "the task ended before it planned anything; start a new task"
    return "the task did not end with a plan at this stage"


async def override_result(
    deps: AskingDeps,
    *,
    task_id: TaskId,
    result_id: RunTaskResultId,
    actor: str,
    reason: str,
) -> Result:
    """Let the result count as passed. A task that it blocked goes on then.

    Of a task that has failed because of it, the saved plan may be applied.

    Raises:
        NotFoundError: the task has no such result.
        ConflictError: it cannot be overridden; the detail says why.
    """
    async with deps.tasks.transactions.write() as tx:
        found = await held(deps, tx, task_id, result_id)
        if found is None or found[1].task_id != task_id:
            raise NotFoundError(f"{task_id} has no result {result_id[:80]}.")
        task, result = found
        stage = await find_stage(deps, tx, task_id, result.stage)
        reason_not = "its stage is gone" if stage is None else ""
        if stage is not None:
            reason_not = why_not(task, stage, result)
        if stage is None or reason_not:
            raise ConflictError(f"{result.id} cannot be overridden: {reason_not}.")
        override = Override(actor, reason, deps.tasks.clock.now())
        passed = replace(result, override=override)
        await deps.store.save(tx, passed)
        await _keep_record(deps, tx, task, passed, override)
        change = await answer_if_complete(deps, tx, task, result.stage)
        if failed_at(task, Gate(result.stage.value)) and not any(
            stops(other) for other in await results_of(deps, tx, stage)
        ):
            await let_pass(deps.tasks, tx, task)
    await announce(deps, Conclusion(task.id, change=change))
    return passed


async def _keep_record(
    deps: AskingDeps, tx: Tx, task: Task, result: Result, override: Override
) -> None:
    await note_override(
        deps.tasks, tx, task_id=task.id, actor=override.by, reason=override.reason
    )
    entry = new_entry(
        deps.tasks.clock,
        actor=override.by,
        action=ACTION,
        subject=result.id,
        organization_id=result.organization_id,
        detail={
            "task_id": task.id,
            "run_task": result.name,
            "stage": result.stage.value,
            "status": result.status.value,
            "reason": override.reason,
        },
    )
    await deps.audit.append(tx, entry)
    if stands_at(task, result.stage):
        words = " ".join(override.reason.split())
        line = f"run task {result.name} overridden: {words}"
        await deps.tasks.log.note(tx, task.id, line, actor=override.by)
