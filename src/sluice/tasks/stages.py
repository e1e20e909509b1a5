"""Decides which stages a task shows, how events change them, and what they took."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sluice.tasks.gates import AFTER_PLAN, phase_at
from sluice.tasks.model import Gate, StageRecord, Task, TaskState
from sluice.wire.agent import PhaseName
from sluice.wire.events import Stage, StageOutcome
from sluice.wire.shapes.tasks import StageStatus, TaskType

EXPECTED: dict[PhaseName, tuple[Stage, ...]] = {
    PhaseName.PLAN: (Stage.FETCHING, Stage.INIT, Stage.PLANNING, Stage.SAVING_PLAN),
    PhaseName.APPLY: (
        Stage.FETCHING,
        Stage.INIT,
        Stage.RESTORING_PLAN,
        Stage.APPLYING,
        Stage.SAVING_STATE,
    ),
    PhaseName.SCRIPT: (Stage.RUNNING,),
}

_PHASES: dict[TaskType, tuple[PhaseName, ...]] = {
    TaskType.PLAN: (PhaseName.PLAN,),
    TaskType.PLAN_AND_APPLY: (PhaseName.PLAN, PhaseName.APPLY),
    TaskType.APPLY: (PhaseName.APPLY,),
    TaskType.SCRIPT: (PhaseName.SCRIPT,),
}
_SHOWING = frozenset(
    {
        TaskState.AT_GATE,
        TaskState.BLOCKED,
        TaskState.PLANNING,
        TaskState.APPLYING,
        TaskState.RUNNING,
        TaskState.FAILED,
    }
)
_AFTER_PLAN = tuple(Stage(gate.value) for gate in AFTER_PLAN)
_ORDER: dict[PhaseName, tuple[Stage, ...]] = {
    PhaseName.PLAN: (
        Stage(Gate.PRE_PLAN.value),
        *EXPECTED[PhaseName.PLAN],
        *_AFTER_PLAN,
    ),
    # an apply may stand at gates that its plan did not come to
    PhaseName.APPLY: (
        *_AFTER_PLAN,
        Stage(Gate.PRE_APPLY.value),
        *EXPECTED[PhaseName.APPLY],
        Stage(Gate.POST_APPLY.value),
    ),
    PhaseName.SCRIPT: EXPECTED[PhaseName.SCRIPT],
}
_PLACE = {
    (phase, stage): (at_phase, at)
    for at_phase, (phase, stages) in enumerate(_ORDER.items())
    for at, stage in enumerate(stages)
}
_LAST = (len(_ORDER), 0)
_STATUS = {
    StageOutcome.COMPLETED: StageStatus.COMPLETED,
    StageOutcome.FAILED: StageStatus.FAILED,
}


def shown(task: Task, stored: Sequence[StageRecord]) -> list[StageRecord]:
    """All stages in order; those that have not come yet are `pending` while they may come."""
    known = {(stage.phase, stage.stage): stage for stage in stored}
    phases = _PHASES[task.task_type]
    if not task.terminal:
        for phase in phases:
            for stage in EXPECTED[phase]:
                known.setdefault(
                    (phase, stage), StageRecord(phase, stage, StageStatus.PENDING)
                )
        for gate in task.gates:
            phase, stage = phase_at(task, gate), Stage(gate.value)
            known.setdefault(
                (phase, stage), StageRecord(phase, stage, StageStatus.PENDING)
            )
    return sorted(
        known.values(),
        key=lambda record: _PLACE.get((record.phase, record.stage), _LAST),
    )


def begun(
    stored: StageRecord | None, phase: PhaseName, stage: Stage, at: datetime
) -> StageRecord:
    """The stage after its begin; hearing of the same begin again changes nothing."""
    if stored is not None and stored.started_at == at:
        return stored
    return StageRecord(phase, stage, StageStatus.RUNNING, started_at=at)


def ended(
    stored: StageRecord | None,
    phase: PhaseName,
    stage: Stage,
    outcome: StageOutcome,
    at: datetime,
) -> StageRecord:
    """The stage after its end, also where its begin was never heard of."""
    before = stored or StageRecord(phase, stage, StageStatus.RUNNING, started_at=at)
    return replace(before, status=_STATUS[outcome], completed_at=at)


def broken_off(stored: Iterable[StageRecord], at: datetime) -> list[StageRecord]:
    """The running stages, as failed at ``at``."""
    return [
        replace(stage, status=StageStatus.FAILED, completed_at=at)
        for stage in stored
        if stage.status is StageStatus.RUNNING
    ]


def milliseconds(stage: StageRecord) -> int | None:
    """How long an ended stage took."""
    if stage.started_at is None or stage.completed_at is None:
        return None
    seconds = (stage.completed_at - stage.started_at).total_seconds()
    return max(0, round(seconds * 1000))


def timings(stages: Iterable[StageRecord]) -> dict[str, int]:
    """Milliseconds by stage name (a name that comes in both phases is summed), and `total`."""
    sums: dict[str, int] = {}
    for stage in stages:
        took = milliseconds(stage)
        if took is not None:
            sums[stage.stage.value] = sums.get(stage.stage.value, 0) + took
    return {**sums, "total": sum(sums.values())}


def current(task: Task) -> Stage | None:
    """The stage a task shows as its own: the running one, or the one it failed in."""
    return task.stage if task.state in _SHOWING else None
