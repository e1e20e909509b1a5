"""Which stages a task shows and what they took."""

from datetime import timedelta

from sluice.tasks.model import Gate, StageRecord, TaskState
from sluice.tasks.stages import (
    begun,
    broken_off,
    current,
    ended,
    milliseconds,
    shown,
    timings,
)
from sluice.wire.agent import PhaseName
from sluice.wire.events import Stage, StageOutcome
from sluice.wire.shapes.tasks import StageStatus, TaskType
from tests.tasks.factory import NOW, at_gate, make_task

PLAN, APPLY = PhaseName.PLAN, PhaseName.APPLY


def done(phase: PhaseName, stage: Stage, milliseconds: int) -> StageRecord:
    at = NOW + timedelta(milliseconds=milliseconds)
    return StageRecord(phase, stage, StageStatus.COMPLETED, NOW, at)


def test_all_stages_of_both_phases_are_shown_from_the_start() -> None:
    names = [(s.phase.value, s.stage.value) for s in shown(make_task(), [])]
    assert names == [
        ("plan", "fetching"),
        ("plan", "init"),
        ("plan", "planning"),
        ("plan", "saving_plan"),
        ("apply", "fetching"),
        ("apply", "init"),
        ("apply", "restoring_plan"),
        ("apply", "applying"),
        ("apply", "saving_state"),
    ]
    assert all(s.status is StageStatus.PENDING for s in shown(make_task(), []))


def test_what_never_came_is_not_shown_of_an_ended_task() -> None:
    stored = [done(PLAN, Stage.INIT, 10), done(PLAN, Stage.FETCHING, 10)]
    task = make_task(TaskState.FAILED)
    assert [s.stage for s in shown(task, stored)] == [Stage.FETCHING, Stage.INIT]


def test_an_apply_task_shows_apply_stages_only() -> None:
    task = make_task(task_type=TaskType.APPLY)
    assert {s.phase for s in shown(task, [])} == {APPLY}


def test_gates_stand_where_a_task_comes_to_them() -> None:
    found = shown(make_task(gates=frozenset(Gate)), [])
    assert [(s.phase.value, s.stage.value) for s in found] == [
        ("plan", "pre_plan"),
        ("plan", "fetching"),
        ("plan", "init"),
        ("plan", "planning"),
        ("plan", "saving_plan"),
        ("plan", "cost_estimation"),
        ("plan", "post_plan"),
        ("plan", "policy_check"),
        ("apply", "pre_apply"),
        ("apply", "fetching"),
        ("apply", "init"),
        ("apply", "restoring_plan"),
        ("apply", "applying"),
        ("apply", "saving_state"),
        ("apply", "post_apply"),
    ]


def test_gates_of_an_overridden_plan_stand_before_the_apply() -> None:
    gates = frozenset({Gate.POLICY_CHECK, Gate.PRE_APPLY})
    stored = [
        done(APPLY, Stage.FETCHING, 10),
        done(APPLY, Stage.PRE_APPLY, 10),
        done(APPLY, Stage.POLICY_CHECK, 10),
    ]
    found = shown(make_task(task_type=TaskType.APPLY, gates=gates), stored)
    assert [stage.stage for stage in found][:4] == [
        Stage.POLICY_CHECK,
        Stage.PRE_APPLY,
        Stage.FETCHING,
        Stage.INIT,
    ]


def test_a_gate_is_shown_as_the_tasks_own_stage_while_it_waits() -> None:
    assert current(at_gate(Gate.POLICY_CHECK)) is Stage.POLICY_CHECK
    failed = make_task(TaskState.FAILED, stage=Stage.PRE_APPLY, gate=Gate.PRE_APPLY)
    assert current(failed) is Stage.PRE_APPLY


def test_begin_and_end() -> None:
    first = begun(None, PLAN, Stage.INIT, NOW)
    assert first.status is StageStatus.RUNNING
    later = NOW + timedelta(seconds=2)
    last = ended(first, PLAN, Stage.INIT, StageOutcome.COMPLETED, later)
    assert last.status is StageStatus.COMPLETED
    assert milliseconds(last) == 2000
    assert begun(last, PLAN, Stage.INIT, NOW) is last
    again = begun(last, PLAN, Stage.INIT, later)
    assert again.status is StageStatus.RUNNING
    assert again.completed_at is None


def test_an_end_without_a_begin_still_counts() -> None:
    record = ended(None, PLAN, Stage.INIT, StageOutcome.FAILED, NOW)
    assert record.status is StageStatus.FAILED
    assert milliseconds(record) == 0


def test_timings_sum_the_same_name_over_both_phases() -> None:
    stages = [
        done(PLAN, Stage.INIT, 100),
        done(APPLY, Stage.INIT, 50),
        done(APPLY, Stage.APPLYING, 1000),
        begun(None, APPLY, Stage.SAVING_STATE, NOW),
    ]
    assert timings(stages) == {"init": 150, "applying": 1000, "total": 1150}


def test_running_stages_break_off() -> None:
    stages = [done(PLAN, Stage.INIT, 1), begun(None, PLAN, Stage.PLANNING, NOW)]
    (broken,) = broken_off(stages, NOW + timedelta(seconds=1))
    assert broken.stage is Stage.PLANNING
    assert broken.status is StageStatus.FAILED
    assert milliseconds(broken) == 1000


def test_a_waiting_task_shows_no_stage() -> None:
    assert current(make_task(TaskState.APPLY_PENDING, stage=Stage.INIT)) is None
    assert current(make_task(TaskState.FAILED, stage=Stage.INIT)) is Stage.INIT
