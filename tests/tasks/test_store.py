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
    LeaseOutcome,
    LeaseRecord,
    LogFigures,
    StageRecord,
    Task,
    TaskState,
)
from sluice.tasks.ports import Claimant, TaskFilter
from sluice.tasks.queue import claimable
from sluice.wire.agent import PhaseName, PlanOptions, Slots
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import PlanSummary, StageStatus, TaskStatus, TaskType
from sluice.workspaces.model import Lock
from tests.tasks.conftest import Stores
from tests.tasks.factory import (
    AGENT,
    NOW,
    ORG,
    OTHER_ORG,
    make_lease,
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
        log=LogFigures(12345678901, 42, 41, 7, "plan end", "apply end", True, True),
        started_at=NOW,
        completed_at=LATER,
    )


async def add(stores: Stores, *tasks: Task) -> list[Task]:
    async with stores.transactions.write() as tx:
        return [await stores.tasks.insert(tx, task) for task in tasks]


async def claim(stores: Stores, slots: Slots = BOTH, **who: Any) -> TaskId | None:
    claimant = replace(Claimant(ORG, POOL, slots), **who)
    async with stores.transactions.write() as tx:
        task = await stores.tasks.next_claimable(tx, claimant)
    return None if task is None else task.id


async def test_a_task_comes_back_as_it_was_stored(stores: Stores) -> None:
    (stored,) = await add(stores, full_task())
    assert stored.sequence == 1
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, stored.id) == stored
        assert await stores.tasks.get(tx, TaskId("task-none")) is None
    (plain,) = await add(stores, make_task())
    async with stores.transactions.read() as tx:
        assert await stores.tasks.get(tx, plain.id) == plain


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


async def test_ended_tasks_whose_log_is_open(stores: Stores) -> None:
    ended = make_task(TaskState.FAILED, completed_at=NOW)
    sealed = make_task(TaskState.FAILED, completed_at=NOW, log=LogFigures(sealed=True))
    fresh = make_task(TaskState.FAILED, completed_at=LATER)
    await add(stores, ended, sealed, fresh, make_task())
    async with stores.transactions.read() as tx:
        assert await stores.tasks.unsealed(tx, NOW) == [ended.id]


# --- the claim ---------------------------------------------------------------


async def test_the_oldest_task_that_fits_is_claimed(stores: Stores) -> None:
    apply = make_task(TaskState.APPLY_READY)
    plan = make_task(task_type=TaskType.PLAN)
    saved = make_task(task_type=TaskType.APPLY, workspace_id=WS2)
    await add(stores, apply, plan, saved)
    assert await claim(stores) == apply.id
    assert await claim(stores, Slots(plan=1)) == plan.id
    assert await claim(stores, Slots(apply=1)) == apply.id
    assert await claim(stores, Slots()) is None
    await lock(stores, user_lock())
    assert await claim(stores, Slots(apply=1)) == saved.id


async def lock(stores: Stores, holder: Lock) -> None:
    async with stores.transactions.write() as tx:
        assert await stores.workspaces.take_lock(tx, WS1, holder) is None


async def test_only_the_own_organization_and_pool(stores: Stores) -> None:
    bound = make_task(pool_id=POOL)
    await add(stores, bound)
    assert await claim(stores, pool_id=PoolId("pool-2")) is None
    assert await claim(stores, organization_id=OTHER_ORG) is None
    assert await claim(stores) == bound.id


async def test_any_pool_of_the_organization_where_none_is_named(
    stores: Stores,
) -> None:
    (free,) = await add(stores, make_task())
    assert await claim(stores, pool_id=PoolId("pool-2")) == free.id


async def test_one_at_a_time_and_plans_beside(stores: Stores) -> None:
    first = make_task(TaskState.APPLY_PENDING)
    second = make_task()
    plan = make_task(task_type=TaskType.PLAN)
    await add(stores, first, second, plan)
    assert await claim(stores) == plan.id


async def test_a_users_lock_stops_all_but_plans(stores: Stores) -> None:
    await add(stores, make_task())
    await lock(stores, user_lock())
    assert await claim(stores) is None
    (plan,) = await add(stores, make_task(task_type=TaskType.PLAN))
    assert await claim(stores) == plan.id


async def test_the_own_lock_does_not_stop_a_task(stores: Stores) -> None:
    (task,) = await add(stores, make_task(TaskState.APPLY_READY))
    await lock(stores, task_lock(task))
    assert await claim(stores) == task.id


async def test_sql_and_the_rule_agree(stores: Stores) -> None:
    """What `next_claimable` finds is what `queue.claimable` says, over many queues."""
    shapes = [
        (state, kind, ws)
        for state in (TaskState.QUEUED, TaskState.APPLY_READY, TaskState.SUCCESS)
        for kind in (TaskType.PLAN, TaskType.PLAN_AND_APPLY, TaskType.APPLY)
        for ws in (WS1, WS2)
        if (state, kind) != (TaskState.APPLY_READY, TaskType.PLAN)
    ]
    tasks: list[Task] = []
    for at in (3, 14, 8, 0, 11, 5, 9, 12, 2, 15, 7, 4):
        state, kind, ws = shapes[at % len(shapes)]
        made = make_task(state, task_type=kind, workspace_id=ws)
        tasks = [*await add(stores, made), *tasks]
        for slots in (BOTH, Slots(plan=1), Slots(apply=1)):
            contenders = sorted(
                (t for t in tasks if t.needs_lock and not t.terminal),
                key=lambda task: task.sequence,
            )
            expected = next(
                (
                    task.id
                    for task in sorted(tasks, key=lambda task: task.sequence)
                    if claimable(
                        task,
                        [c for c in contenders if c.workspace_id == task.workspace_id],
                        None,
                        slots,
                    )
                ),
                None,
            )
            assert await claim(stores, slots) == expected


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
    )
    async with stores.transactions.write() as tx:
        await stores.tasks.add_lease(tx, second)
        await stores.tasks.add_lease(tx, first)
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
            await stores.tasks.add_lease(
                tx,
                LeaseRecord(
                    LeaseId(f"l-{task.id}"),
                    task.id,
                    AGENT,
                    PhaseName.PLAN,
                    1,
                    0,
                    1,
                    NOW,
                ),
            )
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
