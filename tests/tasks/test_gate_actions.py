"""Tasks at gates: markers, stages, locks, words and cancels, on each kind of database."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typing_extensions import override

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import ConflictError, InvalidInputError, UnavailableError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.events.topics import GATES
from sluice.state.actions import current_state
from sluice.tasks import actions
from sluice.tasks.changes import locked
from sluice.tasks.events import CancelAsked
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.gates import Verdict
from sluice.tasks.lifecycle import allows
from sluice.tasks.loop import look_at_gates
from sluice.tasks.model import Gate, Task, TaskState
from sluice.tasks.present import task_resource
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_keeper import AskStatus, MemoryKeeper
from sluice.wire.agent import PhaseName, PhaseOutcome
from sluice.wire.events import Stage, StageBegin, StageEnd, StageOutcome
from sluice.wire.shapes.tasks import StageStatus, TaskStatus, TaskType
from sluice.wire.shapes.tasks import Task as TaskShape
from sluice.workspaces.actions import lock_workspace
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.tasks.world import Phase, World, make_world

PASSED = Verdict(passed=True)
NO = Verdict(passed=False, text="checkov: 3 findings")
ALL = tuple(Gate)
ORDER = (
    Gate.PRE_PLAN,
    Gate.COST_ESTIMATION,
    Gate.POST_PLAN,
    Gate.POLICY_CHECK,
    Gate.PRE_APPLY,
    Gate.POST_APPLY,
)


@dataclass
class Gated:
    """A world with a keeper, an agent, and a workspace."""

    world: World
    keeper: MemoryKeeper
    agent: AgentPrincipal
    workspace: Workspace

    async def create(
        self, task_type: TaskType = TaskType.PLAN_AND_APPLY, **fields: Any
    ) -> TaskId:
        return (await self.world.create(self.workspace, task_type, **fields)).id

    async def answer(self, task_id: TaskId, gate: Gate, verdict: Verdict) -> bool:
        return await self.keeper.answer(self.world.tasks, task_id, gate, verdict)

    async def cancel(self, task_id: TaskId) -> Task:
        return await actions.cancel(
            self.world.tasks, task_id=task_id, actor="ann", reason="wrong"
        )

    async def until_gate(self, task_id: TaskId, gate: Gate | None) -> Task:
        """Let everything else pass until the task stands at ``gate`` or has ended."""
        for _ in range(40):
            task = await self.world.task(task_id)
            at = task.gate if task.state is TaskState.AT_GATE else None
            if task.terminal or (at is not None and at is gate):
                return task
            await self.go_on(task)
        raise AssertionError("the task goes in circles")

    async def go_on(self, task: Task) -> None:
        match task.state:
            case TaskState.AT_GATE:
                assert task.gate is not None
                assert await self.answer(task.id, task.gate, PASSED)
            case TaskState.QUEUED if task.gate is not None:
                await self.world.nothing(self.agent)
                await open_gates(self.world.tasks)
            case TaskState.APPLY_PENDING:
                await actions.confirm(
                    self.world.tasks, task_id=task.id, actor="bob", reason=""
                )
            case _:
                phase = await self.world.claim(self.agent)
                assert phase.task_id == task.id
                await run(phase)

    async def shown(self, task_id: TaskId) -> TaskShape:
        details = await actions.get_task_details(self.world.tasks, task_id=task_id)
        return task_resource(details)

    async def stages(self, task_id: TaskId) -> dict[str, StageStatus]:
        stages = (await self.shown(task_id)).stages
        return {stage.name: stage.status for stage in stages}

    def marks(self, task_id: TaskId) -> list[tuple[str, str]]:
        """The gates' markers, as the log has them."""
        names = {gate.value for gate in Gate}
        return [
            (event.stage.value, type(event).__name__)
            for event in self.world.logs.events(task_id)
            if isinstance(event, StageBegin | StageEnd) and event.stage.value in names
        ]


async def run(phase: Phase) -> Task:
    if phase.order.phase is PhaseName.PLAN:
        return await phase.run_plan()
    return await phase.run_apply()


def pairs(gates: Sequence[Gate]) -> list[tuple[str, str]]:
    return [(gate.value, edge) for gate in gates for edge in ("StageBegin", "StageEnd")]


async def make_gated(
    backing: Backing, directory: Path, gates: Sequence[Gate] = ALL, **fields: Any
) -> Gated:
    memory = backing.memory if backing.kind == "memory" else None
    keeper = MemoryKeeper(gates, transactions=memory)
    world = await make_world(backing, directory, keepers=[keeper])
    return Gated(world, keeper, await world.agent(), await world.workspace(**fields))


@pytest.fixture
async def gated(transactions: Backing, tmp_path: Path) -> Gated:
    """A keeper that stops every task at each of its gates."""
    return await make_gated(transactions, tmp_path)


# --- the whole way -----------------------------------------------------------------


async def test_six_gates_are_passed_in_order_with_markers_around_each(
    gated: Gated,
) -> None:
    task_id = await gated.create()
    visited = []
    for gate in ORDER:
        task = await gated.until_gate(task_id, gate)
        assert task.gate is gate
        visited.append(gate)
        shown = await gated.shown(task_id)
        assert (shown.status, shown.stage) == (TaskStatus.RUNNING, gate.value)
        assert (shown.gate, shown.gates) == (gate.value, [g.value for g in ORDER])
        assert shown.reason == f"waits for the test at {gate}"
        assert (shown.can_confirm, shown.can_discard) == (False, False)
        assert (shown.can_cancel, shown.can_force_cancel) == (True, False)
        stages = await gated.stages(task_id)
        assert stages[gate.value] is StageStatus.RUNNING
        assert all(
            stages[other.value]
            is (StageStatus.COMPLETED if other in visited else StageStatus.PENDING)
            for other in ORDER
            if other is not gate
        )
        assert [ask.gate for ask in gated.keeper.standing()] == [gate]
        lock = (await gated.world.fresh(gated.workspace)).lock
        held = gate not in (Gate.PRE_PLAN, Gate.POST_APPLY)
        assert (lock is not None and lock.id == task_id) is held
        gated.world.clock.turn(seconds=3)
        assert await gated.answer(task_id, gate, PASSED)
    done = await gated.shown(task_id)
    assert (done.status, done.reason) == (TaskStatus.SUCCESS, "applied")
    assert (done.stage, done.gate) == (None, None)
    assert gated.marks(task_id) == pairs(ORDER)
    assert {done.stage_timings[gate.value] for gate in ORDER} == {3000}
    assert [stage.name for stage in done.stages] == [
        "pre_plan",
        *("fetching", "init", "planning", "saving_plan"),
        *("cost_estimation", "post_plan", "policy_check"),
        *("pre_apply", "fetching", "applying", "saving_state", "post_apply"),
    ]
    text = gated.world.logs.text(task_id)
    assert text.index("PRE_PLAN END") < text.index("FETCHING BEGIN")
    assert text.index("SAVING_PLAN END") < text.index("COST_ESTIMATION BEGIN")
    assert text.index("POLICY_CHECK END") < text.index("confirmed by bob")
    assert text.index("confirmed by bob") < text.index("PRE_APPLY BEGIN")
    assert text.index("APPLYING END") < text.index("POST_APPLY BEGIN")
    assert gated.world.logs.status(task_id) == "success"


@pytest.mark.parametrize("seed", range(64))
async def test_any_of_the_gates_in_memory(seed: int, tmp_path: Path) -> None:
    """Each of the 64 sets of gates, on each type of task, with a no and a cancel."""
    wanted = [gate for at, gate in enumerate(ORDER) if seed >> at & 1]
    dice = random.Random(seed)
    backing = Backing("memory", MemoryTransactions())
    gated = await make_gated(backing, tmp_path, wanted)
    for task_type in (TaskType.PLAN, TaskType.PLAN_AND_APPLY):
        way = wanted
        if task_type is TaskType.PLAN:
            way = [gate for gate in wanted if gate in ORDER[:4]]
        for turn in ("yes", "no", "cancel"):
            at = dice.choice(way) if way and turn != "yes" else None
            task_id = await gated.create(task_type)
            task = await gated.until_gate(task_id, at)
            if at is not None and turn == "no":
                assert await gated.answer(task_id, at, NO)
            elif at is not None:
                await gated.cancel(task_id)
            task = await gated.world.task(task_id)
            seen = way if at is None else way[: way.index(at) + 1]
            assert gated.marks(task_id) == pairs(seen)
            expected = TaskStatus.SUCCESS
            if at is not None and at is not Gate.POST_APPLY:
                expected = TaskStatus.FAILED if turn == "no" else TaskStatus.CANCELED
            assert task.status is expected
            assert gated.world.logs.status(task_id) == expected.value
            assert (await gated.world.fresh(gated.workspace)).lock is None


# --- yes, no, cancel -----------------------------------------------------------------


@pytest.mark.parametrize("gate", ORDER[:-1])
async def test_a_no_ends_the_task_there(gated: Gated, gate: Gate) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, gate)
    assert await gated.answer(task_id, gate, NO)
    shown = await gated.shown(task_id)
    assert shown.status is TaskStatus.FAILED
    assert (shown.error, shown.stage) == (NO.text, gate.value)
    assert (shown.gate, shown.gate_overridden) == (gate.value, False)
    assert shown.reason == f"failed: {NO.text}"
    assert (await gated.stages(task_id))[gate.value] is StageStatus.FAILED
    task = await gated.world.task(task_id)
    assert task.log.has_errors
    end = gated.world.logs.events(task_id)[-1]
    assert isinstance(end, StageEnd)
    assert (end.stage, end.outcome) == (Stage(gate.value), StageOutcome.FAILED)
    assert gated.world.logs.status(task_id) == "failed"
    assert (await gated.world.fresh(gated.workspace)).lock is None
    asked = {gate: ask.status for gate, ask in gated.keeper.asks(task_id).items()}
    at = ORDER.index(gate)
    assert set(map(asked.get, ORDER[:at])) <= {AskStatus.PASSED}
    assert asked[gate] is AskStatus.FAILED
    assert {asked[later] for later in ORDER[at + 1 :]} == {AskStatus.SKIPPED}
    assert not await gated.answer(task_id, gate, PASSED), "an answer counted twice"
    assert not allows(task, CancelAsked)


@pytest.mark.parametrize("gate", ORDER)
async def test_a_cancel_at_a_gate_is_immediate(gated: Gated, gate: Gate) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, gate)
    done = await gated.cancel(task_id)
    applied = gate is Gate.POST_APPLY
    assert done.status is (TaskStatus.SUCCESS if applied else TaskStatus.CANCELED)
    assert done.reason == ("applied" if applied else "canceled by ann: wrong")
    assert (done.gate, done.stage) == (None, None)
    assert gated.keeper.asks(task_id)[gate].status is AskStatus.CANCELED
    assert not await gated.answer(task_id, gate, PASSED)
    assert await gated.world.task(task_id) == await gated.world.task(done.id)
    lines = gated.world.logs.text(task_id).splitlines()
    assert "canceled by ann: wrong" in lines[-2]
    assert f"{gate.value.upper()} END" in lines[-1]
    assert (await gated.stages(task_id))[gate.value] is StageStatus.FAILED
    assert (await gated.world.fresh(gated.workspace)).lock is None
    with pytest.raises(ConflictError):
        await gated.cancel(task_id)


async def test_a_no_after_the_apply_changes_nothing_but_its_stage(
    gated: Gated,
) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.POST_APPLY)
    assert await gated.answer(task_id, Gate.POST_APPLY, NO)
    shown = await gated.shown(task_id)
    assert (shown.status, shown.reason) == (TaskStatus.SUCCESS, "applied")
    assert (await gated.stages(task_id))["post_apply"] is StageStatus.FAILED
    assert (await gated.world.task(task_id)).log.has_errors


async def test_an_answer_for_another_gate_changes_nothing(gated: Gated) -> None:
    task_id = await gated.create()
    before = await gated.until_gate(task_id, Gate.POST_PLAN)
    for gate in (Gate.PRE_PLAN, Gate.PRE_APPLY):
        assert not await gated.answer(task_id, gate, NO)
    assert not await gated.answer(TaskId("task-none"), Gate.POST_PLAN, NO)
    assert await gated.world.task(task_id) == before


# --- the turn ----------------------------------------------------------------------


async def test_the_first_gate_is_asked_when_it_is_the_tasks_turn(gated: Gated) -> None:
    first, second = await gated.create(), await gated.create()
    plan = await gated.create(TaskType.PLAN)
    await open_gates(gated.world.tasks)
    await open_gates(gated.world.tasks)
    assert {ask.task_id for ask in gated.keeper.standing()} == {first, plan}
    assert await gated.world.reason(second) == (
        f"2nd in the workspace's queue: behind {first}"
    )
    assert (await gated.shown(second)).gate is None
    await gated.cancel(plan)
    await gated.until_gate(first, Gate.POST_APPLY)
    await open_gates(gated.world.tasks)
    assert {ask.task_id for ask in gated.keeper.standing()} == {first, second}
    # the first one only tells that it is applied: the second need not wait for that
    assert await gated.answer(second, Gate.PRE_PLAN, PASSED)
    phase = await gated.world.claim(gated.agent)
    assert phase.task_id == second
    assert await gated.answer(first, Gate.POST_APPLY, PASSED)
    lock = (await gated.world.fresh(gated.workspace)).lock
    assert lock is not None
    assert lock.id == second, "the end of the first took the second's lock"


async def test_a_users_lock_keeps_a_task_from_its_first_gate(gated: Gated) -> None:
    await lock_workspace(
        gated.world.tasks.workspaces,
        workspace_id=gated.workspace.id,
        actor="bob",
        reason="maintenance",
    )
    task_id = await gated.create()
    await open_gates(gated.world.tasks)
    assert gated.keeper.standing() == []
    reason = await gated.world.reason(task_id)
    assert reason == "workspace is locked by bob: maintenance"


async def test_a_lost_plan_is_queued_again_and_not_asked_about_again(
    gated: Gated,
) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.PRE_PLAN)
    assert await gated.answer(task_id, Gate.PRE_PLAN, PASSED)
    phase = await gated.world.claim(gated.agent)
    await phase.started()
    await phase.stage(Stage.FETCHING)
    gated.world.clock.turn(seconds=70)
    await actions.expire_leases(gated.world.tasks)
    await open_gates(gated.world.tasks)
    task = await gated.world.task(task_id)
    assert (task.state, task.gate) == (TaskState.QUEUED, None)
    stages = await gated.stages(task_id)
    assert stages["pre_plan"] is StageStatus.COMPLETED
    assert stages["fetching"] is StageStatus.PENDING
    again = await gated.world.claim(gated.agent)
    assert again.order.log.epoch > phase.order.log.epoch
    await again.run_plan()
    done = await gated.until_gate(task_id, None)
    assert done.status is TaskStatus.SUCCESS
    assert gated.marks(task_id) == pairs(ORDER)


async def test_the_former_holder_writes_nothing_at_a_gate(gated: Gated) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.PRE_PLAN)
    assert await gated.answer(task_id, Gate.PRE_PLAN, PASSED)
    phase = await gated.world.claim(gated.agent)
    await phase.run_plan()
    before = gated.world.logs.text(task_id)
    with pytest.raises(ConflictError):
        await phase.write(b"still here\n")
    await phase.finish()
    assert gated.world.logs.text(task_id) == before
    assert (await gated.world.task(task_id)).gate is Gate.COST_ESTIMATION


async def test_several_servers_open_a_gate_once(gated: Gated) -> None:
    task_id = await gated.create()
    await asyncio.gather(*(open_gates(gated.world.tasks) for _ in range(4)))
    assert [ask.task_id for ask in gated.keeper.standing()] == [task_id]
    assert gated.marks(task_id) == [("pre_plan", "StageBegin")]


# --- saved plans -------------------------------------------------------------------


async def test_a_saved_plan_stops_before_and_after_its_apply(gated: Gated) -> None:
    plan = await gated.create(TaskType.PLAN)
    done = await gated.until_gate(plan, None)
    assert done.reason == "planned"
    assert gated.marks(plan) == pairs(ORDER[:4])
    apply = await gated.create(TaskType.APPLY, plan_task_id=plan)
    task = await gated.until_gate(apply, Gate.PRE_APPLY)
    assert task.gates == {Gate.PRE_APPLY, Gate.POST_APPLY}
    names = [stage.name for stage in (await gated.shown(apply)).stages]
    assert (names[0], names[-1]) == ("pre_apply", "post_apply")
    done = await gated.until_gate(apply, None)
    assert (done.status, done.reason) == (TaskStatus.SUCCESS, "applied")
    assert gated.marks(apply) == pairs(ORDER[4:])


async def let_pass(gated: Gated, task_id: TaskId) -> None:
    """What the override of a gate's last failure does to its task."""
    async with gated.world.transactions.write() as tx:
        task = await locked(gated.world.tasks, tx, task_id)
        await gated.world.tasks.store.save(tx, replace(task, gate_overridden=True))


@pytest.mark.parametrize("task_type", [TaskType.PLAN, TaskType.PLAN_AND_APPLY])
@pytest.mark.parametrize("gate", [Gate.COST_ESTIMATION, Gate.POLICY_CHECK])
async def test_an_overridden_plan_is_applied_past_the_gates_it_did_not_come_to(
    gated: Gated, task_type: TaskType, gate: Gate
) -> None:
    plan = await gated.create(task_type)
    await gated.until_gate(plan, gate)
    assert await gated.answer(plan, gate, NO)
    with pytest.raises(InvalidInputError, match=r"only (a success|the saved plan)"):
        await gated.create(TaskType.APPLY, plan_task_id=plan)
    await let_pass(gated, plan)
    assert (await gated.shown(plan)).gate_overridden
    apply = await gated.create(TaskType.APPLY, plan_task_id=plan)
    left = ORDER[ORDER.index(gate) + 1 :]
    assert (await gated.world.task(apply)).gates == set(left)
    done = await gated.until_gate(apply, None)
    assert done.reason == "applied"
    assert gated.marks(apply) == pairs(left)
    assert gated.keeper.asks(apply).keys() == set(left)


async def test_an_overridden_plan_that_is_stale_is_refused(gated: Gated) -> None:
    plan = await gated.create(TaskType.PLAN)
    await gated.until_gate(plan, Gate.POLICY_CHECK)
    other = await gated.create()
    assert (await gated.until_gate(other, None)).reason == "applied"
    assert await gated.answer(plan, Gate.POLICY_CHECK, NO)
    await let_pass(gated, plan)
    with pytest.raises(ConflictError, match="is stale"):
        await gated.create(TaskType.APPLY, plan_task_id=plan)


async def test_an_overridden_plan_with_nothing_to_change_is_refused(
    gated: Gated,
) -> None:
    plan = await gated.create()
    await gated.until_gate(plan, Gate.PRE_PLAN)
    assert await gated.answer(plan, Gate.PRE_PLAN, PASSED)
    await (await gated.world.claim(gated.agent)).run_plan(has_changes=False)
    assert await gated.answer(plan, Gate.COST_ESTIMATION, NO)
    await let_pass(gated, plan)
    with pytest.raises(ConflictError, match="has nothing to change"):
        await gated.create(TaskType.APPLY, plan_task_id=plan)


async def test_a_plan_that_failed_before_it_was_made_cannot_be_applied(
    gated: Gated,
) -> None:
    plan = await gated.create()
    await gated.until_gate(plan, Gate.PRE_PLAN)
    assert await gated.answer(plan, Gate.PRE_PLAN, NO)
    await let_pass(gated, plan)
    with pytest.raises(InvalidInputError, match="has no stored plan file"):
        await gated.create(TaskType.APPLY, plan_task_id=plan)


# --- what has none -----------------------------------------------------------------


async def test_scripts_never_stop(gated: Gated) -> None:
    script = await gated.world.script()
    assert script.gates == frozenset()
    await open_gates(gated.world.tasks)
    phase = await gated.world.claim(gated.agent)
    done = await phase.run_script()
    assert done.status is TaskStatus.SUCCESS
    assert gated.keeper.asks(script.id) == {}


async def test_without_attachments_a_task_goes_its_way(gated: Gated) -> None:
    gated.keeper.stops_at = frozenset()
    task_id = await gated.create()
    # what is attached now is for later tasks
    gated.keeper.stops_at = frozenset(Gate)
    assert (await gated.until_gate(task_id, None)).reason == "applied"
    assert gated.marks(task_id) == []


async def test_an_apply_that_fails_closes_what_was_not_asked(gated: Gated) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.PRE_APPLY)
    assert await gated.answer(task_id, Gate.PRE_APPLY, PASSED)
    phase = await gated.world.claim(gated.agent)
    await phase.begin(Stage.APPLYING)
    done = await phase.finish(PhaseOutcome.FAILED, error="exit 1")
    assert (done.status, done.gate) == (TaskStatus.FAILED, None)
    ask = gated.keeper.asks(task_id)[Gate.POST_APPLY]
    assert ask.status is AskStatus.SKIPPED
    assert gated.marks(task_id) == pairs(ORDER[:5])


# --- keepers -----------------------------------------------------------------------


class Stubborn(MemoryKeeper):
    """A keeper that cannot open the gates of one task, and wants gates that are not there."""

    task_id: TaskId | None = None

    @override
    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        return await super().plan(tx, task, possible) | {Gate.POST_APPLY}

    @override
    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        if task.id == self.task_id:
            raise UnavailableError("The keeper is away.")
        await super().open(tx, task, gate)


async def test_a_gate_that_cannot_open_keeps_no_other_task_waiting(
    transactions: Backing, tmp_path: Path
) -> None:
    memory = transactions.memory if transactions.kind == "memory" else None
    keeper = Stubborn([Gate.PRE_PLAN], transactions=memory)
    world = await make_world(transactions, tmp_path, keepers=[keeper])
    workspace = await world.workspace()
    first = await world.create(workspace, TaskType.PLAN)
    second = await world.create(workspace, TaskType.PLAN)
    assert first.gates == {Gate.PRE_PLAN}, "a plan comes to no gate after an apply"
    keeper.task_id = first.id
    with capture_logs() as said:
        await look_at_gates(world.tasks)
    assert [line["event"] for line in said] == ["gate stays closed"]
    assert [ask.task_id for ask in keeper.standing()] == [second.id]
    keeper.task_id = None
    await look_at_gates(world.tasks)
    assert {ask.task_id for ask in keeper.standing()} == {first.id, second.id}


async def test_several_keepers_are_asked_for_their_own_gates(
    transactions: Backing, tmp_path: Path
) -> None:
    memory = transactions.memory if transactions.kind == "memory" else None
    runs = MemoryKeeper([Gate.PRE_PLAN, Gate.POST_PLAN], transactions=memory)
    rules = MemoryKeeper([Gate.POLICY_CHECK], transactions=memory)
    world = await make_world(transactions, tmp_path, keepers=[runs, rules])
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace, TaskType.PLAN)
    assert task.gates == {Gate.PRE_PLAN, Gate.POST_PLAN, Gate.POLICY_CHECK}
    await open_gates(world.tasks)
    assert await runs.answer(world.tasks, task.id, Gate.PRE_PLAN, PASSED)
    await (await world.claim(agent)).run_plan()
    assert await runs.answer(world.tasks, task.id, Gate.POST_PLAN, PASSED)
    assert (runs.standing(), len(rules.standing())) == ([], 1)
    assert await world.reason(task.id) == "waits for the test at policy_check"
    assert await rules.answer(world.tasks, task.id, Gate.POLICY_CHECK, PASSED)
    assert (await world.task(task.id)).status is TaskStatus.SUCCESS


async def test_keepers_are_woken_when_a_task_comes_to_a_gate_or_ends_there(
    gated: Gated,
) -> None:
    with gated.world.tasks.hub.subscribe(GATES) as woken:
        task_id = await gated.create()
        assert not await woken.wait(0.01)
        await open_gates(gated.world.tasks)
        assert await woken.wait(30)
        await gated.cancel(task_id)
        assert await woken.wait(30)


async def test_an_answer_and_a_cancel_at_once_leave_one_of_them(gated: Gated) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.PRE_PLAN)

    async def cancel() -> bool:
        try:
            await gated.cancel(task_id)
        except ConflictError:
            return False
        return True

    answered, canceled = await asyncio.gather(
        gated.answer(task_id, Gate.PRE_PLAN, NO), cancel()
    )
    assert answered is not canceled
    task = await gated.world.task(task_id)
    wanted = TaskStatus.FAILED if answered else TaskStatus.CANCELED
    assert task.status is wanted
    assert gated.marks(task_id) == pairs([Gate.PRE_PLAN])


async def test_a_state_file_of_a_task_at_its_last_gate_is_there(gated: Gated) -> None:
    task_id = await gated.create()
    await gated.until_gate(task_id, Gate.POST_APPLY)
    version = await current_state(
        gated.world.tasks.states, workspace_id=gated.workspace.id
    )
    assert version is not None
    assert version.task_id == task_id
