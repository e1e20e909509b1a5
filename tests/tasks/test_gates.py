"""Gates as rules: every way of every type of task past any of its gates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConflictError
from sluice.tasks.events import (
    CancelAsked,
    Claimed,
    CloseGate,
    Confirmed,
    Discarded,
    Effect,
    EndGates,
    Event,
    FenceLog,
    ForceCancelAsked,
    GateAnswered,
    GateReached,
    LeaseExpired,
    OpenGate,
    OrderFailed,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Started,
    Step,
    WakeQueue,
    WriteNote,
)
from sluice.tasks.gates import (
    AFTER_PLAN,
    Verdict,
    entry,
    left_after,
    phase_at,
    possible,
)
from sluice.tasks.lifecycle import allows, step
from sluice.tasks.model import CancelKind, Gate, Task, TaskState
from sluice.wire.agent import PhaseName, PhaseOutcome
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import TaskStatus, TaskType
from tests.tasks.factory import LEASED, NOW, at_gate, make_lease, make_task

PASSED, FAILED = Verdict(passed=True), Verdict(passed=False, text="checkov: 3 findings")
ALL = (
    Gate.PRE_PLAN,
    Gate.COST_ESTIMATION,
    Gate.POST_PLAN,
    Gate.POLICY_CHECK,
    Gate.PRE_APPLY,
    Gate.POST_APPLY,
)
WAYS = {
    TaskType.PLAN: ALL[:4],
    TaskType.PLAN_AND_APPLY: ALL,
    # after an override its plan's later gates are asked here
    TaskType.APPLY: ALL[1:],
}
GATED = [
    (task_type, gates)
    for task_type, way in WAYS.items()
    for number in range(1, len(way) + 1)
    for gates in combinations(way, number)
]


def gated(task_type: TaskType, gates: Sequence[Gate], **fields: Any) -> Task:
    """A new task that stops at these gates."""
    task = make_task(task_type=task_type, gates=frozenset(gates), **fields)
    if task_type is not TaskType.APPLY:
        task = replace(task, plan_blob="plans/x")
    return replace(task, gate=entry(task))


@dataclass
class Life:
    """One task from its creation to its end, with all that was to be done."""

    task: Task
    effects: list[Effect] = field(default_factory=list)
    visited: list[Gate] = field(default_factory=list)
    claimed: list[tuple[PhaseName, tuple[Gate, ...]]] = field(default_factory=list)
    lost: int = 0

    def step(self, event: Event) -> None:
        done = step(self.task, event, NOW)
        self.task = done.task
        self.effects += done.effects
        assert (self.task.lease is not None) is (self.task.state in LEASED)
        if self.task.state is TaskState.AT_GATE:
            assert self.task.gate is not None
            assert self.task.stage == Stage(self.task.gate.value)
            assert self.task.status is TaskStatus.RUNNING

    def live(self, answers: dict[Gate, Event], *, lose: bool = False) -> None:
        """Go on to the end; ``answers`` are those that are not simply "passed"."""
        for _ in range(60):
            if self.task.terminal:
                return
            self.step(self.next(answers, lose=lose))
        raise AssertionError(f"the task goes in circles: {self.visited}")

    def next(self, answers: dict[Gate, Event], *, lose: bool) -> Event:
        task = self.task
        match task.state:
            case TaskState.QUEUED if task.gate is not None:
                return GateReached()
            case TaskState.QUEUED:
                return self._claim(task.first_phase)
            case TaskState.APPLY_READY:
                return self._claim(PhaseName.APPLY)
            case TaskState.APPLY_PENDING:
                return Confirmed("bob")
            case TaskState.AT_GATE:
                assert task.gate is not None
                self.visited.append(task.gate)
                return answers.get(task.gate, GateAnswered(task.gate, PASSED))
            case _:
                if lose and self.lost < 2:
                    self.lost += 1
                    return LeaseExpired("agent b", "10:00", self.lost)
                return PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True)

    def _claim(self, phase: PhaseName) -> Event:
        self.claimed.append((phase, tuple(self.visited)))
        return Claimed(make_lease(phase))

    def count(self, kind: type[Effect]) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)

    def check(self) -> None:
        """What holds of every life, however it went."""
        task = self.task
        assert task.terminal
        assert self.effects[-1] == SealLog()
        assert self.count(SealLog) == 1
        assert self.count(ReleaseLock) == int(task.needs_lock)
        assert self.count(EndGates) == 1
        assert task.reason
        marks = [e for e in self.effects if isinstance(e, OpenGate | CloseGate)]
        gates = [mark.gate for mark in marks]
        assert gates == [gate for gate in self.visited for _ in range(2)]
        assert [type(mark) for mark in marks] == [OpenGate, CloseGate] * (
            len(marks) // 2
        )
        before_plan = {Gate.PRE_PLAN}
        before_apply = {*AFTER_PLAN, Gate.PRE_APPLY}
        for phase, seen in self.claimed:
            needed = before_plan if phase is PhaseName.PLAN else before_apply
            assert needed & task.gates <= set(seen)


def turns(gates: Sequence[Gate]) -> Iterator[tuple[Gate | None, Event | None]]:
    """Nothing special; or a no, or a cancel, at one of the gates."""
    yield None, None
    for gate in gates:
        yield gate, GateAnswered(gate, FAILED)
        yield gate, CancelAsked("ann", "wrong branch")


@pytest.mark.parametrize(("task_type", "gates"), GATED, ids=str)
def test_every_way_past_any_gates(task_type: TaskType, gates: tuple[Gate, ...]) -> None:
    for at, turn in turns(gates):
        for auto in {False, task_type is TaskType.PLAN_AND_APPLY}:
            life = Life(gated(task_type, gates, auto_apply=auto))
            life.live({} if at is None or turn is None else {at: turn})
            life.check()
            task = life.task
            seen = gates if at is None else gates[: gates.index(at) + 1]
            assert tuple(life.visited) == seen
            if at is None or at is Gate.POST_APPLY:
                assert task.state is TaskState.SUCCESS
                wanted = "planned" if task_type is TaskType.PLAN else "applied"
                assert task.reason == wanted
                assert (task.gate, task.stage) == (None, None)
            elif isinstance(turn, CancelAsked):
                assert task.state is TaskState.CANCELED
                assert task.reason == "canceled by ann: wrong branch"
                assert (task.gate, task.stage) == (None, None)
            else:
                assert task.state is TaskState.FAILED
                assert task.error == "checkov: 3 findings"
                assert (task.gate, task.stage) == (at, Stage(at.value))
            no = isinstance(turn, GateAnswered)
            assert task.log.has_errors is no


@pytest.mark.parametrize("task_type", WAYS)
def test_phases_that_are_lost_ask_no_gate_twice(task_type: TaskType) -> None:
    life = Life(gated(task_type, WAYS[task_type]))
    life.live({}, lose=True)
    life.check()
    assert life.lost == 2
    assert tuple(life.visited) == WAYS[task_type]
    assert life.task.state is TaskState.SUCCESS


# --- where a task stops ----------------------------------------------------------


def test_what_may_come_of_each_type() -> None:
    assert possible(TaskType.PLAN) == ALL[:4]
    assert possible(TaskType.PLAN_AND_APPLY) == ALL
    assert possible(TaskType.APPLY) == (Gate.PRE_APPLY, Gate.POST_APPLY)
    assert possible(TaskType.SCRIPT) == ()


def test_the_phase_among_whose_stages_a_gate_stands() -> None:
    both = make_task()
    phases = [phase_at(both, gate) for gate in ALL]
    assert phases == [PhaseName.PLAN] * 4 + [PhaseName.APPLY] * 2
    apply = make_task(task_type=TaskType.APPLY)
    assert phase_at(apply, Gate.POLICY_CHECK) is PhaseName.APPLY


@pytest.mark.parametrize(
    ("failed_at", "left"),
    [
        (Gate.COST_ESTIMATION, {Gate.POST_PLAN, Gate.POLICY_CHECK}),
        (Gate.POST_PLAN, {Gate.POLICY_CHECK}),
        (Gate.POLICY_CHECK, set()),
        (Gate.PRE_APPLY, set()),
        (None, set()),
    ],
)
def test_what_a_plan_that_failed_at_a_gate_did_not_come_to(
    failed_at: Gate | None, left: set[Gate]
) -> None:
    plan = make_task(TaskState.FAILED, gates=frozenset(ALL), gate=failed_at)
    assert left_after(plan) == left
    few = make_task(TaskState.FAILED, gates=frozenset({failed_at}), gate=failed_at)
    assert left_after(few) == set()


# --- what is done there ------------------------------------------------------------


def test_a_plan_comes_to_its_gate_with_its_lease_ended_and_its_lock_kept() -> None:
    task = gated(TaskType.PLAN_AND_APPLY, [Gate.POST_PLAN])
    done = run(
        task,
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
    )
    assert done.effects == (FenceLog(), OpenGate(Gate.POST_PLAN))
    assert done.task.reason == "waits for the answer at post_plan"
    assert done.task.blocks_others
    done = run(done.task, GateAnswered(Gate.POST_PLAN, PASSED))
    assert done.task.state is TaskState.APPLY_PENDING
    assert done.task.reason == "waits for confirmation"
    assert done.effects == (CloseGate(Gate.POST_PLAN, passed=True),)


def test_a_gate_follows_the_one_before_it_in_one_step() -> None:
    task = at_gate(Gate.COST_ESTIMATION, gates=frozenset(ALL))
    done = run(task, GateAnswered(Gate.COST_ESTIMATION, PASSED))
    assert done.task.gate is Gate.POST_PLAN
    assert done.effects == (
        CloseGate(Gate.COST_ESTIMATION, passed=True),
        OpenGate(Gate.POST_PLAN),
    )


def test_the_confirmation_stands_before_the_gate_it_leads_to() -> None:
    gates = frozenset({Gate.PRE_APPLY})
    done = run(make_task(TaskState.APPLY_PENDING, gates=gates), Confirmed("bob"))
    assert done.effects == (
        WriteNote("confirmed by bob", "bob"),
        OpenGate(Gate.PRE_APPLY),
    )
    done = run(done.task, GateAnswered(Gate.PRE_APPLY, PASSED))
    assert done.task.state is TaskState.APPLY_READY
    assert done.effects == (CloseGate(Gate.PRE_APPLY, passed=True), WakeQueue())


def test_without_confirmation_the_note_stands_there_too() -> None:
    gates = frozenset({Gate.POLICY_CHECK, Gate.PRE_APPLY})
    task = at_gate(Gate.POLICY_CHECK, gates=gates, auto_apply=True)
    done = run(task, GateAnswered(Gate.POLICY_CHECK, PASSED))
    assert done.task.gate is Gate.PRE_APPLY
    assert done.effects == (
        CloseGate(Gate.POLICY_CHECK, passed=True),
        WriteNote("applying without confirmation"),
        OpenGate(Gate.PRE_APPLY),
    )


def test_a_plan_with_nothing_to_change_ends_behind_its_gates() -> None:
    task = gated(TaskType.PLAN_AND_APPLY, [Gate.POST_PLAN, Gate.PRE_APPLY])
    done = run(
        task,
        Claimed(make_lease(PhaseName.PLAN)),
        PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=False),
        GateAnswered(Gate.POST_PLAN, PASSED),
    )
    assert done.task.state is TaskState.SUCCESS
    assert done.task.reason == "nothing to change"
    assert [type(effect) for effect in done.effects] == [
        CloseGate,
        EndGates,
        ReleaseLock,
        WakeQueue,
        SealLog,
    ]


def test_what_is_applied_gives_its_lock_back_before_it_tells_anybody() -> None:
    task = make_task(TaskState.APPLYING, gates=frozenset({Gate.POST_APPLY}))
    done = run(task, PhaseEnded(PhaseOutcome.SUCCEEDED))
    assert done.effects == (
        FenceLog(),
        ReleaseLock(),
        WakeQueue(),
        OpenGate(Gate.POST_APPLY),
    )
    assert not done.task.blocks_others
    for event in (
        GateAnswered(Gate.POST_APPLY, PASSED),
        GateAnswered(Gate.POST_APPLY, FAILED),
        CancelAsked("ann"),
    ):
        ended = run(done.task, event)
        assert ended.task.state is TaskState.SUCCESS
        assert ended.task.reason == "applied"
        assert ended.task.error == ""
        assert ReleaseLock() not in ended.effects


def test_a_cancel_after_the_apply_says_that_it_is_applied() -> None:
    done = run(at_gate(Gate.POST_APPLY), CancelAsked("ann", "slow"))
    text = "post_apply canceled by ann: slow; the changes are applied"
    assert done.effects[:2] == (
        WriteNote(text, "ann"),
        CloseGate(Gate.POST_APPLY, passed=False),
    )


def test_an_apply_that_fails_comes_to_no_gate() -> None:
    task = make_task(TaskState.APPLYING, gates=frozenset({Gate.POST_APPLY}))
    done = run(task, PhaseEnded(PhaseOutcome.FAILED, "exit 1"))
    assert done.task.state is TaskState.FAILED
    assert done.task.gate is None
    kinds = [type(effect) for effect in done.effects]
    assert kinds == [FenceLog, EndGates, ReleaseLock, WakeQueue, SealLog]


def test_a_no_without_words_still_says_where() -> None:
    no = GateAnswered(Gate.PRE_APPLY, Verdict(passed=False))
    done = run(at_gate(Gate.PRE_APPLY), no)
    assert done.task.error == "The answer at pre_apply was no."


# --- cancels that cross an end -----------------------------------------------------


def test_a_plan_that_was_quicker_than_its_cancel_is_not_asked_about() -> None:
    for task_type in (TaskType.PLAN, TaskType.PLAN_AND_APPLY):
        done = run(
            gated(task_type, [Gate.POST_PLAN]),
            Claimed(make_lease(PhaseName.PLAN)),
            CancelAsked("ann"),
            PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=True),
        )
        assert done.task.state is TaskState.CANCELED
        assert OpenGate(Gate.POST_PLAN) not in done.effects


def test_an_apply_that_was_quicker_can_be_canceled_anew_at_its_gate() -> None:
    task = make_task(TaskState.APPLYING, gates=frozenset({Gate.POST_APPLY}))
    done = run(task, CancelAsked("ann"), PhaseEnded(PhaseOutcome.SUCCEEDED))
    assert done.task.gate is Gate.POST_APPLY
    assert done.task.cancel is None


# --- what is refused ---------------------------------------------------------------


def run(task: Task, *events: Event) -> Step:
    done = Step(task)
    for event in events:
        done = step(done.task, event, NOW)
    return done


def test_no_agent_gets_a_phase_before_its_gate_is_passed() -> None:
    task = gated(TaskType.PLAN, [Gate.PRE_PLAN])
    with pytest.raises(ConflictError, match="has to come through pre_plan first"):
        run(task, Claimed(make_lease(PhaseName.PLAN)))


@pytest.mark.parametrize(
    "event",
    [
        Claimed(make_lease(PhaseName.PLAN)),
        Started(),
        PhaseEnded(PhaseOutcome.SUCCEEDED),
        OrderFailed("no key"),
        GateReached(),
        Confirmed("ann"),
        Discarded("ann"),
        ForceCancelAsked("ann"),
    ],
    ids=lambda event: type(event).__name__,
)
@pytest.mark.parametrize("gate", Gate)
def test_nobody_but_its_keeper_leads_on_from_a_gate(gate: Gate, event: Event) -> None:
    with pytest.raises(ConflictError, match="waits at a gate and cannot"):
        run(at_gate(gate), event)


def test_another_gates_answer_is_refused() -> None:
    with pytest.raises(ConflictError, match="does not stand at the gate pre_apply"):
        run(at_gate(Gate.POST_PLAN), GateAnswered(Gate.PRE_APPLY, PASSED))


def test_a_task_without_a_first_gate_cannot_come_to_it() -> None:
    with pytest.raises(ConflictError, match="has no gate before its first phase"):
        run(make_task(), GateReached())


# --- what always holds -------------------------------------------------------------

DICE: st.SearchStrategy[str] = st.sampled_from(
    ["on", "on", "on", "no", "cancel", "force", "lost", "fail", "discard", "nothing"]
)


def thrown(life: Life, dice: str) -> Event:
    """What the dice mean for a task as it stands."""
    task = life.task
    match dice:
        case "no" if task.gate is not None:
            return GateAnswered(task.gate, FAILED)
        case "cancel":
            return CancelAsked("ann")
        case "force":
            return ForceCancelAsked("ann")
        case "lost":
            return LeaseExpired("agent b", "10:00", 1)
        case "fail":
            return PhaseEnded(PhaseOutcome.FAILED, "broken")
        case "discard":
            return Discarded("ann")
        case "nothing":
            return PhaseEnded(PhaseOutcome.SUCCEEDED, has_changes=False)
        case _:
            event = life.next({}, lose=False)
            if task.state is TaskState.AT_GATE:
                life.visited.pop()
            return event


@given(
    st.sampled_from(sorted(WAYS)),
    st.sets(st.sampled_from(Gate)),
    st.booleans(),
    st.lists(DICE, max_size=30),
)
def test_every_history_with_gates_keeps_the_rules(
    task_type: TaskType, gates: set[Gate], auto: bool, dice: list[str]
) -> None:
    wanted = sorted(gates & set(WAYS[task_type]))
    life = Life(gated(task_type, wanted, auto_apply=auto))
    opened: list[Gate] = []
    for one in dice:
        if life.task.terminal:
            break
        event = thrown(life, one)
        if not allows(life.task, type(event)):
            continue
        before, at = life.task, len(life.effects)
        life.step(event)
        new = life.effects[at:]
        opened += [effect.gate for effect in new if isinstance(effect, OpenGate)]
        stands = before.state is TaskState.AT_GATE
        closed = [effect for effect in new if isinstance(effect, CloseGate)]
        assert bool(closed) is (stands and life.task.gate is not before.gate) or (
            stands and life.task.state is TaskState.FAILED
        )
        fenced = before.lease is not None and life.task.lease is None
        assert (FenceLog() in new) is fenced
        if life.task.cancel is CancelKind.CANCEL:
            assert life.task.state is not TaskState.AT_GATE
    assert len(opened) == len(set(opened)), "a gate was opened twice"
    assert set(opened) <= life.task.gates
    assert life.count(ReleaseLock) == int(
        life.task.needs_lock and (life.task.terminal or Gate.POST_APPLY in opened)
    )
    assert life.count(EndGates) == int(life.task.terminal and bool(wanted))


# --- blocked ---------------------------------------------------------------------

HELD = Verdict(passed=False, text="checkov: 3 findings", overridable=True)
STOPPING = [
    (task_type, gate)
    for task_type in (TaskType.PLAN_AND_APPLY, TaskType.APPLY)
    for gate in WAYS[task_type]
    if gate is not Gate.POST_APPLY
]


def blocked(task_type: TaskType, gate: Gate, **fields: Any) -> Life:
    """A task that somebody attends to, with a no at one gate that may be overridden."""
    life = Life(gated(task_type, WAYS[task_type], **fields))
    while life.task.gate is not gate or life.task.state is not TaskState.AT_GATE:
        life.step(life.next({}, lose=False))
    life.visited.append(gate)
    life.step(GateAnswered(gate, HELD))
    return life


@pytest.mark.parametrize(("task_type", "gate"), STOPPING, ids=str)
def test_an_attended_task_is_blocked_where_a_person_may_let_it_pass(
    task_type: TaskType, gate: Gate
) -> None:
    life = blocked(task_type, gate)
    task = life.task
    assert (task.state, task.status) == (TaskState.BLOCKED, TaskStatus.RUNNING)
    assert (task.gate, task.stage) == (gate, Stage(gate.value))
    assert "checkov: 3 findings" in task.reason
    assert "override" in task.reason
    assert task.log.has_errors
    assert task.blocks_others
    assert isinstance(life.effects[-1], WriteNote)
    assert life.count(CloseGate) == life.count(OpenGate) - 1
    again = step(task, GateAnswered(gate, HELD), NOW)
    assert (again.task, again.effects) == (task, ())

    life.step(GateAnswered(gate, PASSED))
    life.live({})
    life.check()
    assert life.task.state is TaskState.SUCCESS


@pytest.mark.parametrize("event", [Discarded("ann", "no"), CancelAsked("ann", "no")])
@pytest.mark.parametrize(("task_type", "gate"), STOPPING, ids=str)
def test_a_blocked_task_is_discarded_or_canceled(
    task_type: TaskType, gate: Gate, event: Event
) -> None:
    life = blocked(task_type, gate)
    life.step(event)
    life.check()
    discarded = isinstance(event, Discarded)
    wanted = TaskState.DISCARDED if discarded else TaskState.CANCELED
    assert life.task.state is wanted
    assert "by ann: no" in life.task.reason


@pytest.mark.parametrize(
    ("task_type", "fields"),
    [(TaskType.PLAN, {}), (TaskType.PLAN_AND_APPLY, {"auto_apply": True})],
)
def test_nobody_is_waited_for_where_nobody_attends(
    task_type: TaskType, fields: dict[str, Any]
) -> None:
    for gate in WAYS[task_type]:
        life = Life(gated(task_type, WAYS[task_type], **fields))
        life.live({gate: GateAnswered(gate, HELD)})
        life.check()
        applied = gate is Gate.POST_APPLY
        wanted = TaskState.SUCCESS if applied else TaskState.FAILED
        assert life.task.state is wanted


def test_after_apply_nothing_is_blocked() -> None:
    life = Life(gated(TaskType.PLAN_AND_APPLY, WAYS[TaskType.PLAN_AND_APPLY]))
    life.live({Gate.POST_APPLY: GateAnswered(Gate.POST_APPLY, HELD)})
    life.check()
    assert life.task.state is TaskState.SUCCESS
