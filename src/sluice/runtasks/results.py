"""Makes results final, and answers at the gate with the last one of a stage.

Everybody who does so locks the task first and the result second, as whoever ends a task
does: so two answers that come at once wait for each other, and none is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice.base.ids import RunTaskResultId, TaskId
from sluice.base.transactions import Tx
from sluice.events.topics import task_topic
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result, StageOfTask
from sluice.runtasks.verdicts import is_alarming, log_line, verdict
from sluice.tasks.changes import Change
from sluice.tasks.gate_actions import answer_gate, tell
from sluice.tasks.gate_steps import STANDING
from sluice.tasks.model import Gate, Task, TaskState
from sluice.wire.run_task import ResultStatus, RunTaskStage


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of a change: a result as it is now, a task that was answered.

    ``result`` is None where it changed in nothing that is counted.
    """

    task_id: TaskId
    result: Result | None = None
    change: Change | None = None


async def held(
    deps: AskingDeps, tx: Tx, task_id: TaskId, result_id: RunTaskResultId
) -> tuple[Task, Result] | None:
    """A task and one of its results, kept from others; None where one of them is gone."""
    task = await deps.tasks.store.lock(tx, task_id)
    result = await deps.store.hold(tx, result_id)
    if task is None or result is None:
        return None
    return task, result


async def conclude(deps: AskingDeps, tx: Tx, task: Task, result: Result) -> Conclusion:
    """Store a result of which ``status`` is final, and answer if it was the stage's last.

    Task and result are held. After the commit the caller passes what it got to `announce`.
    """
    last = replace(
        result,
        next_call_at=None,
        call_lease_until=None,
        completed_at=deps.tasks.clock.now(),
    )
    await deps.store.save(tx, last)
    if stands_at(task, last.stage):
        line, error = log_line(last), is_alarming(last)
        await deps.tasks.log.note(tx, task.id, line, error=error)
    change = await answer_if_complete(deps, tx, task, last.stage)
    return Conclusion(task.id, last, change)


async def answer_if_complete(
    deps: AskingDeps, tx: Tx, task: Task, at: RunTaskStage
) -> Change | None:
    """Answer at the gate if all results of its stage are final.

    Once, and anew while what was refused blocks the task there: it may be overridden.
    """
    stage = await find_stage(deps, tx, task.id, at)
    if stage is None:
        return None
    blocked = task.state is TaskState.BLOCKED and stands_at(task, at)
    if stage.answered_at is not None and not blocked:
        return None
    given = verdict(await results_of(deps, tx, stage))
    if given is None:
        return None
    now = deps.tasks.clock.now()
    answered = replace(stage, answered_at=now, passed=given.passed)
    await deps.store.save_stage(tx, answered)
    return await answer_gate(
        deps.tasks, tx, task_id=task.id, gate=Gate(at.value), verdict=given
    )


async def announce(deps: AskingDeps, conclusion: Conclusion) -> None:
    """Count what became final and tell those who wait, after the commit."""
    if conclusion.result is not None and conclusion.result.final:
        deps.metrics.concluded(conclusion.result)
    if conclusion.change is not None:
        await tell(deps.tasks, conclusion.change)
    deps.tasks.hub.publish(task_topic(conclusion.task_id))


async def find_stage(
    deps: AskingDeps, tx: Tx, task_id: TaskId, at: RunTaskStage
) -> StageOfTask | None:
    """The task's stage, where something is asked there."""
    stages = await deps.store.stages(tx, task_id)
    return next((stage for stage in stages if stage.stage is at), None)


async def results_of(deps: AskingDeps, tx: Tx, stage: StageOfTask) -> Sequence[Result]:
    """All results of a stage."""
    found = await deps.store.results(tx, stage.task_id)
    return [result for result in found if result.stage_id == stage.id]


def failed(result: Result, message: str) -> Result:
    """The result of a service that cannot be asked."""
    return replace(result, status=ResultStatus.ERROR, message=message)


def stands_at(task: Task, stage: RunTaskStage) -> bool:
    """Whether the task waits at this stage, so that the server writes its log."""
    return task.state in STANDING and task.gate == Gate(stage.value)
