"""The port suite of tasks: memory, SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sluice.base.errors import ConflictError
from sluice.base.ids import (
    AgentId,
    LeaseId,
    PoolId,
    StateVersionId,
    TaskId,
    WorkspaceId,
)
from sluice.base.paging import Page
from sluice.tasks.model import (
    ActionRecord,
    CancelKind,
    Gate,
    LeaseOutcome,
    LeaseRecord,
    LogFigures,
    ScriptFacts,
    StageRecord,
    Task,
    TaskState,
)
from sluice.tasks.ports import TaskFilter
from sluice.wire.agent import PhaseName, PlanOptions, Slots
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import PlanSummary, StageStatus, TaskStatus, TaskType
from tests.tasks.conftest import Stores
from tests.tasks.factory import (
    AGENT,
    NOW,
    ORG,
    OTHER_ORG,
    WS,
    at_gate,
    make_lease,
    make_script,
    make_task,
    task_lock,
    user_lock,
)

BOTH = Slots(plan=1, apply=1)
POOL = PoolId("pool-1")
WS1, WS2 = WorkspaceId("ws-1"), WorkspaceId("ws-2")
WHOLE = Page()
LATER = NOW + timedelta(minutes=5)


def full_task() -> Task:
    return make_task(
        TaskState.APPLYING,
        pool_id=POOL,
        stage=Stage.APPLYING,
        reason="because",
        error="oh\nno",
        message="ünicode",
        options=PlanOptions(destroy=True, targets=['a.b["c"]'], refresh=False),
        sealed_variables=b"\x00\xff",
        auto_apply=True,
        has_changes=True,
        summary=PlanSummary(add=1, change=2, destroy=3, import_=4),
        plan_blob="plans/x/plan",
        plan_json_blob="plans/x/plan.json",
        lease=make_lease(PhaseName.APPLY, started=True),
        agent_lost=True,
        cancel=CancelKind.FORCE_CANCEL,
        cancel_reason="by ann",
        last_agent_id=AGENT,
        log=LogFigures(
            12345678901, 42, 41, 7, "plan end", "apply end", True, True, 9, "end"
        ),
        resolved_version="1.11.4",
        gates=frozenset(Gate),
        gate=Gate.PRE_APPLY,
        gate_overridden=True,
        started_at=NOW,
        completed_at=LATER,
    )


async def add(stores: Stores, *tasks: Task) -> list[Task]:
    async with stores.transactions.write() as tx:
        return [await stores.tasks.insert(tx, task) for task in tasks]


async def test_a_task_comes_back_as_it_was_stored(stores: Stores) -> None:
    (stored,) = await add(stores, full_task())
    assert stored.sequence == 1
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, stored.id) == stored
        assert await stores.tasks.get(tx, TaskId("task-none")) is None
    (plain,) = await add(stores, make_task())
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, plain.id) == plain
    facts = ScriptFacts("n", "k", "v", "/p", 5, "WARN", "run-1", True, "host")
    (script,) = await add(
        stores, make_script(script=facts, sealed_script=b"\x00", exit_code=-9)
    )
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, script.id) == script


async def test_an_id_is_given_once(stores: Stores) -> None:
    (task,) = await add(stores, make_task())
    with pytest.raises(ConflictError, match="There is a task"):
        await add(stores, make_task(id=task.id, reason="other"))
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, task.id) == task


async def test_a_change_is_refused_where_somebody_else_was_first(
    stores: Stores,
) -> None:
    (task,) = await add(stores, make_task())
    async with stores.transactions.write() as tx:
        newer = await stores.tasks.save(tx, replace(task, reason="first"))
    assert newer.version == task.version + 1
    with pytest.raises(ConflictError):
        async with stores.transactions.write() as tx:
            await stores.tasks.save(tx, replace(task, reason="second"))
    async with stores.transactions.write() as tx:
        locked = await stores.tasks.lock(tx, task.id)
    assert locked == newer


async def test_places_in_the_queue_grow(stores: Stores) -> None:
    tasks = await add(stores, *[make_task() for _ in range(3)])
    assert [task.sequence for task in tasks] == [1, 2, 3]


# --- lists -------------------------------------------------------------------


async def test_lists_are_newest_first_filtered_and_counted(stores: Stores) -> None:
    plan = make_task(TaskState.SUCCESS, task_type=TaskType.PLAN)
    tasks = await add(
        stores,
        make_task(),
        plan,
        make_task(workspace_id=WS2),
        make_task(TaskState.APPLY_PENDING),
    )

    async def ids(page: Page = WHOLE, **which: Any) -> tuple[list[int], int]:
        async with stores.transactions.read() as tx:
            found, total = await stores.tasks.page(tx, TaskFilter(**which), page)
        return [task.sequence for task in found], total

    assert await ids(organization_id=ORG) == ([4, 3, 2, 1], 4)
    assert await ids(workspace_id=WS1) == ([4, 2, 1], 3)
    assert await ids(Page(1, 1), workspace_id=WS1) == ([2], 3)
    assert await ids(status=TaskStatus.SUCCESS) == ([2], 1)
    assert await ids(task_type=TaskType.PLAN_AND_APPLY, workspace_id=WS1) == ([4, 1], 2)
    assert await ids(organization_id=OTHER_ORG) == ([], 0)
    await add(stores, make_script())
    assert await ids(script="hello") == ([5], 1)
    assert await ids(script="hello", task_type=TaskType.PLAN) == ([], 0)
    assert await ids(script="other") == ([], 0)
    async with stores.transactions.read() as tx:
        held = await stores.tasks.waiting_for_lock(tx, [WS1])
        both = await stores.tasks.waiting_for_lock(tx, [WS1, WS2])
        none = await stores.tasks.waiting_for_lock(tx, [])
    assert held == [tasks[0], tasks[3]]
    assert both == [tasks[0], tasks[2], tasks[3]]
    assert none == []


async def test_leased_and_expired(stores: Stores) -> None:
    leased = make_task(TaskState.PLANNING)
    lost = make_task(TaskState.APPLYING, agent_lost=True)
    other = make_task(
        TaskState.PLANNING,
        lease=make_lease(PhaseName.PLAN, agent_id=AgentId("agent-2"), expires_at=LATER),
    )
    leased, lost, _, _ = await add(stores, leased, lost, other, make_task())
    async with stores.transactions.read() as tx:
        assert await stores.tasks.leased_by(tx, AGENT) == [leased, lost]
        at = NOW + timedelta(seconds=60)
        assert await stores.tasks.expired(tx, NOW) == []
        assert await stores.tasks.expired(tx, at) == [leased.id]


async def test_scripts_that_are_lost_for_long(stores: Stores) -> None:
    old = make_lease(PhaseName.SCRIPT, started=True, expires_at=NOW)
    new = make_lease(PhaseName.SCRIPT, started=True, expires_at=LATER)
    lost, *_ = await add(
        stores,
        make_script(TaskState.RUNNING, lease=old, agent_lost=True),
        make_script(TaskState.RUNNING, lease=new, agent_lost=True),
        make_script(TaskState.RUNNING, lease=old),
        make_task(TaskState.APPLYING, agent_lost=True),
        make_script(),
    )
    async with stores.transactions.read() as tx:
        found = await stores.tasks.lost_scripts(tx, NOW)
        assert found == [lost.id]
        assert await stores.tasks.lost_scripts(tx, NOW - timedelta(seconds=1)) == []


async def test_ended_tasks_whose_log_is_open(stores: Stores) -> None:
    ended = make_task(TaskState.FAILED, completed_at=NOW)
    sealed = make_task(TaskState.FAILED, completed_at=NOW, log=LogFigures(sealed=True))
    fresh = make_task(TaskState.FAILED, completed_at=LATER)
    await add(stores, ended, sealed, fresh, make_task())
    async with stores.transactions.read() as tx:
        assert await stores.tasks.unsealed(tx, NOW) == [ended.id]


# --- leases, stages, actions -------------------------------------------------


async def test_leases_are_kept(stores: Stores) -> None:
    (task,) = await add(stores, make_task())
    first = LeaseRecord(LeaseId("l-1"), task.id, AGENT, PhaseName.PLAN, 1, 0, 1, NOW)
    second = LeaseRecord(
        LeaseId("l-2"), task.id, AGENT, PhaseName.APPLY, 3, 99, 12, LATER
    )
    ended = replace(
        first,
        base_state_id=StateVersionId("sv-1"),
        ended_at=LATER,
        outcome=LeaseOutcome.LOST,
        log_end=2**33,
    )
    async with stores.transactions.write() as tx:
        await stores.tasks.add_leases(tx, [second, first])
        await stores.tasks.save_lease(tx, ended)
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get_lease(tx, first.id) == ended
        assert await stores.tasks.get_lease(tx, LeaseId("none")) is None
        assert await stores.tasks.leases(tx, task.id) == [ended, second]


async def test_stages_are_kept_and_cleared_by_phase(stores: Stores) -> None:
    (task,) = await add(stores, make_task())
    plan = StageRecord(PhaseName.PLAN, Stage.INIT, StageStatus.RUNNING, NOW)
    done = replace(plan, status=StageStatus.COMPLETED, completed_at=LATER)
    apply = StageRecord(PhaseName.APPLY, Stage.INIT, StageStatus.RUNNING, LATER)
    async with stores.transactions.write() as tx:
        for stage in (plan, apply, done):
            await stores.tasks.put_stage(tx, task.id, stage)
    async with stores.transactions.read() as tx:
        assert await stores.tasks.stages(tx, task.id) == [done, apply]
    async with stores.transactions.write() as tx:
        await stores.tasks.clear_stages(tx, task.id, PhaseName.PLAN)
        assert await stores.tasks.stages(tx, task.id) == [apply]


async def test_the_stages_of_gates_are_not_cleared(stores: Stores) -> None:
    (task,) = await add(stores, make_task())
    async with stores.transactions.write() as tx:
        for stage in Stage:
            record = StageRecord(PhaseName.PLAN, stage, StageStatus.COMPLETED, NOW)
            await stores.tasks.put_stage(tx, task.id, record)
        await stores.tasks.clear_stages(tx, task.id, PhaseName.PLAN)
        left = await stores.tasks.stages(tx, task.id)
    assert {stage.stage.value for stage in left} == {gate.value for gate in Gate}


# --- gates -------------------------------------------------------------------


def before(**fields: Any) -> Task:
    """A task that has to come to a gate before its first phase."""
    gates = frozenset({Gate.PRE_PLAN})
    return make_task(**{"gate": Gate.PRE_PLAN, "gates": gates, **fields})


async def waiting_before_gates(stores: Stores, limit: int = 99) -> list[TaskId]:
    async with stores.transactions.read() as tx:
        return await stores.tasks.before_gate(tx, limit=limit)


async def test_only_queued_tasks_before_a_gate_come_to_it(stores: Stores) -> None:
    plan = TaskType.PLAN
    one, two, three, *_ = await add(
        stores,
        before(task_type=plan),
        before(task_type=plan),
        before(workspace_id=WS2),
        make_task(task_type=plan),
        make_script(sealed_script=b"x"),
        at_gate(Gate.PRE_PLAN, task_type=plan),
        make_task(TaskState.FAILED, gate=Gate.PRE_PLAN, completed_at=NOW),
        make_task(TaskState.PLANNING, task_type=plan),
    )
    assert await waiting_before_gates(stores) == [one.id, two.id, three.id]
    assert await waiting_before_gates(stores, limit=2) == [one.id, two.id]


async def test_tasks_come_to_their_first_gate_when_it_is_their_turn(
    stores: Stores,
) -> None:
    first, second, plan = await add(
        stores, before(), before(), before(task_type=TaskType.PLAN)
    )
    assert await waiting_before_gates(stores) == [first.id, plan.id]
    async with stores.transactions.write() as tx:
        await stores.workspaces.set_locks(tx, {WS: user_lock()})
    assert await waiting_before_gates(stores) == [plan.id]
    async with stores.transactions.write() as tx:
        await stores.workspaces.release_lock(tx, WS, user_lock().id)
        standing = replace(first, state=TaskState.AT_GATE, gate=Gate.POST_PLAN)
        standing = await stores.tasks.save(tx, standing)
        await stores.workspaces.set_locks(tx, {WS: task_lock(first)})
    assert await waiting_before_gates(stores) == [plan.id]
    async with stores.transactions.write() as tx:
        await stores.workspaces.release_lock(tx, WS, first.id)
        await stores.tasks.save(tx, replace(standing, gate=Gate.POST_APPLY))
    assert await waiting_before_gates(stores) == [second.id, plan.id]


async def test_who_only_tells_that_it_is_applied_is_no_contender(
    stores: Stores,
) -> None:
    tasks = await add(stores, *(at_gate(gate) for gate in Gate))
    async with stores.transactions.read() as tx:
        found = await stores.tasks.waiting_for_lock(tx, [WS])
    assert found == [task for task in tasks if task.gate is not Gate.POST_APPLY]


async def test_actions_are_kept_in_order(stores: Stores) -> None:
    one, two = await add(stores, make_task(), make_task())
    records = [
        ActionRecord("confirm", "ann", "good", NOW),
        ActionRecord("cancel", "bob", "", NOW),
    ]
    async with stores.transactions.write() as tx:
        for record in records:
            await stores.tasks.add_action(tx, one.id, record)
        await stores.tasks.add_action(tx, two.id, records[1])
        assert await stores.tasks.actions(tx, one.id) == records


async def test_a_workspaces_tasks_go_together(stores: Stores) -> None:
    gone, kept = await add(stores, full_task(), make_task(workspace_id=WS2))
    async with stores.transactions.write() as tx:
        for task in (gone, kept):
            stage = StageRecord(PhaseName.PLAN, Stage.INIT, StageStatus.RUNNING, NOW)
            await stores.tasks.put_stage(tx, task.id, stage)
            await stores.tasks.add_action(
                tx, task.id, ActionRecord("cancel", "bob", "", NOW)
            )
            lease = LeaseRecord(
                LeaseId(f"l-{task.id}"), task.id, AGENT, PhaseName.PLAN, 1, 0, 1, NOW
            )
            await stores.tasks.add_leases(tx, [lease])
        assert await stores.tasks.of_workspace(tx, WS1) == [gone]
        await stores.tasks.delete_all(tx, WS1)
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, gone.id) is None
        assert await stores.tasks.stages(tx, gone.id) == []
        assert await stores.tasks.actions(tx, gone.id) == []
        assert await stores.tasks.leases(tx, gone.id) == []
        assert await stores.tasks.get(tx, kept.id) == kept
        assert len(await stores.tasks.stages(tx, kept.id)) == 1
        assert len(await stores.tasks.actions(tx, kept.id)) == 1
        assert len(await stores.tasks.leases(tx, kept.id)) == 1
