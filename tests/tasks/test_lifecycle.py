"""The table of states and events: every cell, the rules, and what must always hold."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConflictError
from sluice.base.ids import LeaseId
from sluice.tasks.endings import MAX_LOST_PLANS
from sluice.tasks.events import (
    CancelAsked,
    Claimed,
    Confirmed,
    Discarded,
    Event,
    FenceLog,
    ForceCancelAsked,
    GateAnswered,
    GateReached,
    GivenUp,
    LeaseExpired,
    LeaseRenewed,
    MarkDiverged,
    OrderFailed,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Started,
    Step,
    WakeQueue,
    WriteAgentLost,
    WriteNote,
)
from sluice.tasks.gates import Verdict
from sluice.tasks.lifecycle import STATE_WORDS, TABLE, allows, step
from sluice.tasks.model import TERMINAL_STATES, CancelKind, Gate, Task, TaskState
from sluice.wire.agent import PhaseName, PhaseOutcome
from sluice.wire.shapes.tasks import TaskStatus, TaskType
from tests.tasks.factory import LEASED, NOW, make_lease, make_script, make_task

SOON = NOW + timedelta(seconds=5)
LATE = NOW + timedelta(seconds=61)

EVENTS: list[Event] = [
    Claimed(make_lease(PhaseName.PLAN)),
    Started(),
    LeaseRenewed(LATE),
    LeaseExpired("agent builder", "10:00:00", 1),
    GivenUp("agent builder", "10:00:00"),
    PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    OrderFailed("no key"),
    GateReached(),
    GateAnswered(Gate.POST_PLAN, Verdict(passed=True)),
    Confirmed("ann"),
    Discarded("ann"),
    CancelAsked("ann"),
    ForceCancelAsked("ann"),
]


def effects(done: Step) -> list[type]:
    return [type(effect) for effect in done.effects]


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_cell_of_the_table(state: TaskState, event: Event) -> None:
    task = make_task(state)
    if isinstance(event, GateReached) and state is TaskState.QUEUED:
        task = replace(task, gates=frozenset({Gate.PRE_PLAN}), gate=Gate.PRE_PLAN)
    if type(event) in TABLE[state]:
        assert step(task, event, SOON).task.id == task.id
        return
    with pytest.raises(ConflictError) as refused:
        step(task, event, SOON)
    assert task.id in refused.value.detail
    assert STATE_WORDS[state] in refused.value.detail


def test_nothing_happens_to_an_ended_task() -> None:
    for state in TERMINAL_STATES:
        assert TABLE[state] == frozenset()


# --- the ways of a task --------------------------------------------------------


def run(task: Task, *events: Event) -> Step:
    done = Step(task)
    for event in events:
        done = step(done.task, event, SOON)
    return done


def planned(**fields: Any) -> Step:
    task = make_task(plan_blob="plans/x/plan", **fields)
    return run(
        task,
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    )


def test_a_plan_with_changes_waits_for_confirmation_and_keeps_the_lock() -> None:
    done = planned()
    assert done.task.state is TaskState.APPLY_PENDING
    assert done.task.status is TaskStatus.APPLY_PENDING
    assert done.task.lease is None
    assert done.task.reason == "waits for confirmation"
    assert effects(done) == [FenceLog]


def test_auto_apply_goes_on_by_itself() -> None:
    done = planned(auto_apply=True)
    assert done.task.state is TaskState.APPLY_READY
    assert effects(done) == [FenceLog, WriteNote, WakeQueue]


def test_confirm_apply_success() -> None:
    done = run(
        planned().task,
        Confirmed("bob", "looks good"),
        Claimed(make_lease(PhaseName.APPLY)),
        Started(),
        PhaseEnded(PhaseOutcome.SUCCEEDED),
    )
    assert done.task.state is TaskState.SUCCESS
    assert done.task.reason == "applied"
    assert done.task.completed_at == SOON
    assert effects(done) == [FenceLog, ReleaseLock, WakeQueue, SealLog]


def test_confirming_is_written_into_the_log_with_who_and_why() -> None:
    done = step(planned().task, Confirmed("bob", "looks good"), SOON)
    assert done.effects[0] == WriteNote("confirmed by bob: looks good", "bob")


def test_a_plan_without_changes_ends_there_even_with_auto_apply() -> None:
    done = run(
        make_task(auto_apply=True),
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=False),
    )
    assert done.task.state is TaskState.SUCCESS
    assert done.task.reason == "nothing to change"
    assert ReleaseLock in effects(done)


def test_a_plan_task_ends_after_its_plan_and_has_no_lock_to_release() -> None:
    done = run(
        make_task(task_type=TaskType.PLAN),
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    )
    assert done.task.state is TaskState.SUCCESS
    assert effects(done) == [FenceLog, WakeQueue, SealLog]


def test_nothing_is_applied_without_a_stored_plan() -> None:
    done = run(
        make_task(auto_apply=True),
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    )
    assert done.task.state is TaskState.FAILED
    assert "stored no plan file" in done.task.error


def test_a_failed_phase_says_why() -> None:
    task = make_task(TaskState.PLANNING)
    done = run(task, PhaseEnded(PhaseOutcome.FAILED, error="terraform exited with 1"))
    assert done.task.state is TaskState.FAILED
    assert done.task.error == "terraform exited with 1"
    assert done.task.reason == "failed: terraform exited with 1"


def test_a_state_that_was_not_stored_marks_the_workspace() -> None:
    task = make_task(TaskState.APPLYING)
    done = run(task, PhaseEnded(PhaseOutcome.FAILED, "no", state_diverged=True))
    (mark,) = [item for item in done.effects if isinstance(item, MarkDiverged)]
    assert task.id in mark.text
    assert "it is kept on agent-1" in mark.text


def test_a_state_that_was_never_written_is_not_said_to_be_kept() -> None:
    event = PhaseEnded(
        PhaseOutcome.CANCELED, "no", state_diverged=True, state_kept=False
    )
    done = run(make_task(TaskState.APPLYING), event)
    (mark,) = [item for item in done.effects if isinstance(item, MarkDiverged)]
    assert "is in no state" in mark.text
    assert "kept" not in mark.text


def test_the_version_that_made_the_plan_is_remembered() -> None:
    event = PhaseEnded(
        PhaseOutcome.SUCCEEDED, has_changes=True, engine_version="1.11.4"
    )
    done = run(make_task(TaskState.PLANNING, plan_blob="x"), event)
    assert done.task.resolved_version == "1.11.4"
    applied = PhaseEnded(PhaseOutcome.SUCCEEDED, engine_version="9.9.9")
    done = run(
        done.task, Confirmed("bob"), Claimed(make_lease(PhaseName.APPLY)), applied
    )
    assert done.task.resolved_version == "1.11.4"


# --- cancel ------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [TaskState.QUEUED, TaskState.APPLY_PENDING, TaskState.APPLY_READY]
)
def test_cancel_is_immediate_where_no_agent_works(state: TaskState) -> None:
    done = run(make_task(state), CancelAsked("ann", "wrong branch"))
    assert done.task.state is TaskState.CANCELED
    assert done.task.reason == "canceled by ann: wrong branch"
    assert effects(done) == [WriteNote, ReleaseLock, WakeQueue, SealLog]


def test_cancel_of_a_leased_phase_is_a_command_to_its_agent() -> None:
    done = run(make_task(TaskState.APPLYING), CancelAsked("ann", "stop"))
    assert done.task.state is TaskState.APPLYING
    assert done.task.cancel is CancelKind.CANCEL
    assert done.task.cancel_reason == "by ann: stop"
    assert done.effects == ()
    ended = run(done.task, PhaseEnded(PhaseOutcome.CANCELED))
    assert ended.task.state is TaskState.CANCELED
    assert ended.task.reason == "canceled by ann: stop"


def test_a_plan_that_was_quicker_than_its_cancel_is_not_applied() -> None:
    task = make_task(TaskState.PLANNING, plan_blob="x", auto_apply=True)
    done = run(
        task,
        CancelAsked("ann"),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    )
    assert done.task.state is TaskState.CANCELED


def test_an_apply_that_was_quicker_than_its_cancel_is_applied() -> None:
    done = run(
        make_task(TaskState.APPLYING),
        CancelAsked("ann"),
        PhaseEnded(PhaseOutcome.SUCCEEDED),
    )
    assert done.task.state is TaskState.SUCCESS


def test_force_cancel_while_the_agent_is_there_asks_the_agent() -> None:
    done = run(make_task(TaskState.APPLYING), ForceCancelAsked("ann"))
    assert done.task.state is TaskState.APPLYING
    assert done.task.cancel is CancelKind.FORCE_CANCEL


def test_force_cancel_of_a_lost_apply_ends_it_and_marks_the_workspace() -> None:
    lease = make_lease(PhaseName.APPLY, started=True)
    lost = run(
        make_task(TaskState.APPLYING, lease=lease), LeaseExpired("b", "10:00", 1)
    )
    done = step(lost.task, ForceCancelAsked("ann", "gone"), LATE)
    assert done.task.state is TaskState.CANCELED
    assert done.task.reason.startswith("force-canceled by ann: gone")
    assert effects(done) == [
        FenceLog,
        WriteAgentLost,
        MarkDiverged,
        ReleaseLock,
        WakeQueue,
        SealLog,
    ]


def test_force_cancel_after_the_lease_ran_out_need_not_wait_for_the_loop() -> None:
    lease = make_lease(PhaseName.APPLY, started=True)
    task = make_task(TaskState.APPLYING, lease=lease)
    done = step(task, ForceCancelAsked("ann"), LATE)
    assert done.task.state is TaskState.CANCELED
    assert MarkDiverged in effects(done)


def test_force_cancel_of_a_lost_plan_leaves_the_workspace_unmarked() -> None:
    done = step(make_task(TaskState.PLANNING), ForceCancelAsked("ann"), LATE)
    assert done.task.state is TaskState.CANCELED
    assert MarkDiverged not in effects(done)


# --- lost agents ---------------------------------------------------------------


def test_a_lost_plan_is_queued_again() -> None:
    done = run(make_task(TaskState.PLANNING), LeaseExpired("builder", "10:00:00", 1))
    assert done.task.state is TaskState.QUEUED
    assert done.task.lease is None
    assert effects(done) == [FenceLog, WriteAgentLost, WakeQueue]


def test_a_plan_that_keeps_losing_its_agents_fails() -> None:
    event = LeaseExpired("builder", "10:00:00", MAX_LOST_PLANS)
    done = run(make_task(TaskState.PLANNING), event)
    assert done.task.state is TaskState.FAILED
    assert f"{MAX_LOST_PLANS} agents were lost" in done.task.error


def test_an_apply_that_may_have_begun_waits_for_its_agent() -> None:
    lease = make_lease(PhaseName.APPLY, started=True)
    task = make_task(TaskState.APPLYING, lease=lease)
    done = run(task, LeaseExpired("builder", "10:00:00", 1))
    assert done.task.state is TaskState.APPLYING
    assert done.task.agent_lost
    assert done.task.lease == lease
    assert done.effects == ()
    assert "agent lost during apply" in done.task.reason
    assert "10:00:00" in done.task.reason
    back = run(done.task, LeaseRenewed(LATE))
    assert not back.task.agent_lost
    assert back.task.reason == ""
    assert back.task.lease == replace(lease, expires_at=LATE)


@pytest.mark.parametrize(
    ("task_type", "state"),
    [
        (TaskType.PLAN_AND_APPLY, TaskState.APPLY_READY),
        (TaskType.APPLY, TaskState.QUEUED),
    ],
)
def test_an_apply_that_never_began_is_queued_again(
    task_type: TaskType, state: TaskState
) -> None:
    task = make_task(TaskState.APPLYING, task_type=task_type)
    done = run(task, LeaseExpired("builder", "10:00:00", MAX_LOST_PLANS))
    assert done.task.state is state


def test_a_lost_apply_that_is_to_be_killed_ends() -> None:
    lease = make_lease(PhaseName.APPLY, started=True)
    task = make_task(TaskState.APPLYING, lease=lease)
    done = run(task, ForceCancelAsked("ann"), LeaseExpired("b", "10:00", 1))
    assert done.task.state is TaskState.CANCELED
    assert MarkDiverged in effects(done)


def test_a_lost_plan_that_is_to_be_canceled_is_not_queued_again() -> None:
    done = run(
        make_task(TaskState.PLANNING),
        CancelAsked("ann"),
        LeaseExpired("b", "10:00", 1),
    )
    assert done.task.state is TaskState.CANCELED


def test_an_order_that_cannot_be_made_fails_the_task() -> None:
    done = run(make_task(TaskState.PLANNING), OrderFailed("the key is missing"))
    assert done.task.state is TaskState.FAILED
    assert effects(done) == [FenceLog, ReleaseLock, WakeQueue, SealLog]


# --- scripts -------------------------------------------------------------------


def test_a_script_runs_and_ends_with_its_exit_code() -> None:
    done = run(
        make_script(),
        Claimed(make_lease(PhaseName.SCRIPT)),
        Started(),
        PhaseEnded(PhaseOutcome.SUCCEEDED, exit_code=0),
    )
    assert done.task.state is TaskState.SUCCESS
    assert done.task.exit_code == 0
    assert done.task.reason == "the script ended with exit code 0"
    assert effects(done) == [FenceLog, WakeQueue, SealLog]


def test_a_script_that_fails_says_its_exit_code() -> None:
    task = make_script(TaskState.RUNNING)
    done = run(task, PhaseEnded(PhaseOutcome.FAILED, exit_code=3))
    assert done.task.state is TaskState.FAILED
    assert done.task.exit_code == 3
    assert done.task.reason == "failed: The script ended with exit code 3."
    late = PhaseEnded(PhaseOutcome.FAILED, "It ran longer than 60 s.", exit_code=-2)
    assert run(task, late).task.reason == "failed: It ran longer than 60 s."


def test_a_script_that_never_began_is_queued_again() -> None:
    event = LeaseExpired("agent b", "10:00", MAX_LOST_PLANS + 1)
    done = run(make_script(TaskState.RUNNING), event)
    assert done.task.state is TaskState.QUEUED
    assert effects(done) == [FenceLog, WriteAgentLost, WakeQueue]


def begun_script() -> Task:
    lease = make_lease(PhaseName.SCRIPT, started=True)
    return make_script(TaskState.RUNNING, lease=lease)


def test_a_script_that_may_have_begun_waits_and_is_never_run_again() -> None:
    task = begun_script()
    done = run(task, LeaseExpired("agent b", "10:00", 1))
    assert done.task.state is TaskState.RUNNING
    assert done.task.agent_lost
    assert done.task.lease == task.lease
    assert done.effects == ()
    assert "agent lost during the script: agent b is unreachable" in done.task.reason
    ended = run(done.task, PhaseEnded(PhaseOutcome.SUCCEEDED, exit_code=0))
    assert ended.task.state is TaskState.SUCCESS
    assert not ended.task.agent_lost


def test_force_cancel_ends_a_lost_script_and_marks_nothing() -> None:
    lost = run(begun_script(), LeaseExpired("agent b", "10:00", 1))
    done = step(lost.task, ForceCancelAsked("ann"), LATE)
    assert done.task.state is TaskState.CANCELED
    assert done.task.reason.endswith("the agent was lost during the script")
    assert effects(done) == [FenceLog, WriteAgentLost, WakeQueue, SealLog]


def test_a_script_whose_agent_stays_away_fails_with_words() -> None:
    lost = run(begun_script(), LeaseExpired("agent b", "10:00", 1))
    done = run(lost.task, GivenUp("agent b", "10:00"))
    assert done.task.state is TaskState.FAILED
    assert "agent b was not heard of since 10:00" in done.task.error
    assert effects(done) == [FenceLog, WriteAgentLost, WakeQueue, SealLog]


# --- what always holds ---------------------------------------------------------

ANY_EVENT: st.SearchStrategy[Event] = st.sampled_from(
    [
        *EVENTS,
        Claimed(make_lease(PhaseName.PLAN, id=LeaseId("lease-2"))),
        LeaseExpired("b", "10:00", MAX_LOST_PLANS),
        *(
            PhaseEnded(outcome, "broken", has_changes, diverged)
            for outcome in PhaseOutcome
            for has_changes in (None, True, False)
            for diverged in (True, False)
        ),
    ]
)


def fitting(task: Task, event: Event) -> Event:
    """The same event; a claim is for the phase that comes next."""
    if not isinstance(event, Claimed):
        return event
    ready = task.state is TaskState.APPLY_READY
    phase = PhaseName.APPLY if ready else task.first_phase
    return Claimed(replace(event.lease, phase=phase))


@given(
    st.lists(ANY_EVENT, max_size=25),
    st.sampled_from(TaskType),
    st.booleans(),
    st.sampled_from([None, "plans/x"]),
)
def test_every_history_keeps_the_rules(
    events: list[Event], task_type: TaskType, auto_apply: bool, plan: str | None
) -> None:
    task = make_task(task_type=task_type, auto_apply=auto_apply, plan_blob=plan)
    if task_type is TaskType.SCRIPT:
        task = make_script()
    confirmed = False
    for drawn in events:
        event = fitting(task, drawn)
        # tasks with gates have their own file
        if isinstance(event, GateReached | GateAnswered):
            continue
        if not allows(task, type(event)):
            continue
        before = task
        done = step(task, event, SOON)
        task = done.task
        kinds = effects(done)
        confirmed = confirmed or isinstance(event, Confirmed)
        assert (task.lease is not None) is (task.state in LEASED)
        if task.state is TaskState.RUNNING:
            assert task_type is TaskType.SCRIPT
        assert task.terminal is (task.completed_at is not None)
        assert (SealLog in kinds) is task.terminal
        assert (ReleaseLock in kinds) is (task.terminal and task.needs_lock)
        assert (FenceLog in kinds) is (before.lease is not None and task.lease is None)
        if task.state is TaskState.APPLYING and task_type is TaskType.PLAN_AND_APPLY:
            assert plan is not None
            assert auto_apply or confirmed
        if task.state is TaskState.APPLYING:
            assert task_type is not TaskType.PLAN
        if task.terminal:
            assert task.reason
        begun = before.lease is not None and before.lease.started
        if isinstance(event, LeaseExpired) and begun and not task.terminal:
            assert before.state is TaskState.PLANNING or task.state is before.state
        writes = [k for k in kinds if k in (WriteNote, WriteAgentLost)]
        assert not writes or task.lease is None
