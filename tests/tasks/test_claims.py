"""Who is given what: the stores' part on each database, and claims by many at once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import LockedError
from sluice.base.ids import AgentId, PoolId, TaskId, WorkspaceId
from sluice.base.transactions import Transactions, Tx
from sluice.db.engine import Database, open_database
from sluice.tasks import actions, claim_store
from sluice.tasks.deps import TaskDeps
from sluice.tasks.matching import Holding, Overview, Wanted, Work
from sluice.tasks.model import Gate, Task, TaskState
from sluice.tasks.queue import claimable
from sluice.wire.agent import PhaseName, Slots
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.actions import lock_workspace, unlock_workspace
from sluice.workspaces.model import Lock
from tests.conftest import Backing
from tests.tasks.conftest import Stores
from tests.tasks.factory import (
    AGENT,
    ORG,
    OTHER_ORG,
    at_gate,
    make_lease,
    make_task,
    task_lock,
    user_lock,
)
from tests.tasks.world import POOL, World, claimant, make_world

BOTH = Slots(plan=1, apply=1)
WS1, WS2 = WorkspaceId("ws-1"), WorkspaceId("ws-2")
WS_OTHER = WorkspaceId("ws-other")
POOL2 = PoolId("pool-2")
IDC1 = {"region": "idc1"}
ANY = Wanted(ORG, POOL, {}, plan=True, apply=True)
PLANS, APPLIES = replace(ANY, apply=False), replace(ANY, plan=False)


async def add(stores: Stores, *tasks: Task) -> list[Task]:
    async with stores.transactions.write() as tx:
        return [await stores.tasks.insert(tx, task) for task in tasks]


async def found(
    stores: Stores, wanted: Wanted = ANY, limit: int = 1, without: Sequence[Task] = ()
) -> list[TaskId]:
    async with stores.transactions.write() as tx:
        tasks = await stores.tasks.claimable(
            tx, wanted, limit=limit, without=[task.id for task in without]
        )
    return [task.id for task in tasks]


async def overview(stores: Stores) -> Overview:
    async with stores.transactions.read() as tx:
        return await stores.tasks.overview(tx, [ORG], [POOL])


async def lock(stores: Stores, holder: Lock, workspace_id: WorkspaceId = WS1) -> None:
    async with stores.transactions.write() as tx:
        assert await stores.workspaces.take_lock(tx, workspace_id, holder) is None


# --- which tasks are claimable -------------------------------------------------


async def test_the_oldest_tasks_that_fit_are_found(stores: Stores) -> None:
    apply = make_task(TaskState.APPLY_READY)
    plan = make_task(task_type=TaskType.PLAN)
    saved = make_task(task_type=TaskType.APPLY, workspace_id=WS2)
    script = make_task(
        task_type=TaskType.SCRIPT, workspace_id=None, sealed_script=b"sealed"
    )
    await add(stores, apply, plan, saved, script)
    assert await found(stores, limit=9) == [apply.id, plan.id, saved.id, script.id]
    assert await found(stores, limit=2) == [apply.id, plan.id]
    assert await found(stores, PLANS, limit=9) == [plan.id, script.id]
    assert await found(stores, APPLIES, limit=9) == [apply.id, saved.id]
    assert await found(stores, replace(PLANS, plan=False)) == []
    assert await found(stores, limit=2, without=[apply]) == [plan.id, saved.id]
    assert await found(stores, limit=9, without=[apply, plan, saved, script]) == []
    await lock(stores, user_lock())
    assert await found(stores, APPLIES) == [saved.id]


async def test_only_the_own_organization_and_pool(stores: Stores) -> None:
    (bound,) = await add(stores, make_task(pool_id=POOL))
    assert await found(stores, replace(ANY, pool_id=POOL2)) == []
    assert await found(stores, replace(ANY, organization_id=OTHER_ORG)) == []
    assert await found(stores) == [bound.id]


async def test_any_pool_with_the_labels_where_none_is_named(stores: Stores) -> None:
    free, labeled, more = await add(
        stores,
        make_task(task_type=TaskType.PLAN),
        make_task(task_type=TaskType.PLAN, labels=IDC1),
        make_task(task_type=TaskType.PLAN, labels=IDC1 | {"gpu": "yes"}),
    )

    async def served(**labels: str) -> list[TaskId]:
        return await found(stores, replace(ANY, pool_id=POOL2, labels=labels), 9)

    assert await served() == [free.id]
    assert await served(region="idc2") == [free.id]
    assert await served(region="idc1") == [free.id, labeled.id]
    whole = [free.id, labeled.id, more.id]
    assert await served(region="idc1", gpu="yes", os="linux") == whole


async def test_one_at_a_time_and_plans_beside(stores: Stores) -> None:
    first = make_task(TaskState.APPLY_PENDING)
    second = make_task()
    plan = make_task(task_type=TaskType.PLAN)
    await add(stores, first, second, plan)
    assert await found(stores, limit=9) == [plan.id]


async def test_a_users_lock_stops_all_but_plans_of_that_workspace(
    stores: Stores,
) -> None:
    await lock(stores, user_lock())
    _, plan, other = await add(
        stores,
        make_task(),
        make_task(task_type=TaskType.PLAN),
        make_task(workspace_id=WS2),
    )
    assert await found(stores, limit=9) == [plan.id, other.id]


async def test_the_own_lock_does_not_stop_a_task(stores: Stores) -> None:
    (task,) = await add(stores, make_task(TaskState.APPLY_READY))
    await lock(stores, task_lock(task))
    assert await found(stores) == [task.id]


async def test_a_script_of_sluice_exec_is_for_no_agent(stores: Stores) -> None:
    await add(stores, make_task(task_type=TaskType.SCRIPT, workspace_id=None))
    assert await found(stores) == []
    assert await overview(stores) == Overview([])


async def test_sql_and_the_rule_agree(stores: Stores) -> None:
    """What `claimable` finds is what `queue.claimable` says, over many queues."""
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
        before = Gate.PRE_PLAN if at % 3 == 0 and state is TaskState.QUEUED else None
        telling = at_gate(Gate.POST_APPLY, workspace_id=ws)
        made = make_task(state, task_type=kind, workspace_id=ws, gate=before)
        tasks += await add(stores, telling, made)
        contenders = [t for t in tasks if t.blocks_others]
        for wanted in (ANY, PLANS, APPLIES):
            slots = Slots(plan=int(wanted.plan), apply=int(wanted.apply))
            expected = [
                task.id
                for task in tasks
                if claimable(
                    task,
                    [c for c in contenders if c.workspace_id == task.workspace_id],
                    None,
                    slots,
                )
            ]
            assert await found(stores, wanted, limit=99) == expected
        counted = sum(work.count for work in (await overview(stores)).works)
        assert counted == len(await found(stores, limit=99))


# --- overview and holdings -----------------------------------------------------


async def test_the_overview_counts_what_is_alike(stores: Stores) -> None:
    assert await overview(stores) == Overview([])
    plan: dict[str, Any] = {"task_type": TaskType.PLAN}
    await add(
        stores,
        make_task(**plan, labels=IDC1),
        make_task(**plan, pool_id=POOL),
        make_task(**plan, pool_id=POOL2),
        make_task(**plan, labels=IDC1, workspace_id=WS2),
        make_task(TaskState.APPLY_READY, workspace_id=WS2),
        make_task(),
        make_task(),
        make_task(**plan, organization_id=OTHER_ORG, workspace_id=WS_OTHER),
    )
    assert (await overview(stores)).works == [
        Work(ORG, None, IDC1, apply=False, count=2),
        Work(ORG, POOL, {}, apply=False, count=1),
        Work(ORG, None, {}, apply=True, count=1),
        Work(ORG, None, {}, apply=False, count=1),
    ]


async def test_an_overview_of_a_long_queue_says_that_it_is_cut(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_store, "LOOK_AT", 3)
    world = await make_world(Backing(database.dialect, database), tmp_path)
    agent, other_pool = await world.agent(), await world.pool("far")
    workspace = await world.workspace(pool_id=POOL)
    for _ in range(3):
        await world.create(workspace, TaskType.PLAN)
    behind = await world.create(
        await world.workspace(pool_id=other_pool), TaskType.PLAN
    )
    far = await world.agent("far", other_pool)
    async with world.transactions.read() as tx:
        seen = await world.tasks.store.overview(tx, [ORG], [POOL, other_pool])
    assert not seen.whole
    asking = [claimant(agent), claimant(far)]
    assert await actions.find_takers(world.tasks, claimants=asking) == asking
    orders = await actions.claim_phases(world.tasks, claimants=asking)
    assert orders[far.agent_id].task_id == behind.id


async def test_what_agents_hold_lost_phases_included(stores: Stores) -> None:
    other, idle = AgentId("agent-2"), AgentId("agent-3")
    lease = make_lease(PhaseName.PLAN, agent_id=other)
    await add(
        stores,
        make_task(TaskState.PLANNING),
        make_task(TaskState.PLANNING),
        make_task(TaskState.APPLYING, agent_lost=True),
        make_task(TaskState.PLANNING, lease=lease),
        make_task(),
    )
    async with stores.transactions.read() as tx:
        held = await stores.tasks.holdings(tx, [AGENT, other, idle])
    assert held == {AGENT: Holding(plans=2, applies=1), other: Holding(plans=1)}


# --- labels, limits and drains ---------------------------------------------------


async def test_work_with_labels_goes_to_the_pool_that_has_them(world: World) -> None:
    near = await world.agent()
    far = await world.agent("far", await world.pool("far", labels=IDC1))
    workspace = await world.workspace(labels=IDC1)
    task = await world.create(workspace, TaskType.PLAN)
    assert task.labels == IDC1
    asking = [claimant(near), claimant(far)]
    assert await actions.find_takers(world.tasks, claimants=asking) == asking[1:]
    orders = await actions.claim_phases(world.tasks, claimants=asking)
    assert {agent_id: order.task_id for agent_id, order in orders.items()} == {
        far.agent_id: task.id
    }


async def test_words_for_labels_that_no_pool_has(world: World) -> None:
    await world.agent()
    workspace = await world.workspace(labels=IDC1)
    task = await world.create(workspace, TaskType.PLAN)
    assert await world.reason(task.id) == (
        "no pool has the labels region=idc1; make one or change the workspace's labels"
    )
    pool_id = await world.pool("far", labels=IDC1)
    assert (await world.reason(task.id)).startswith(
        "the pools with the labels region=idc1 have no agents"
    )
    agent = await world.agent("far", pool_id)
    assert await world.reason(task.id) == "waits for an agent to take it"
    await change(world, agent, drain_requested=True)
    assert await world.reason(task.id) == (
        "no agent of the pools with the labels region=idc1 is free"
    )


async def change(world: World, agent: AgentPrincipal, **fields: Any) -> None:
    store = world.agents.store
    async with world.transactions.write() as tx:
        stored = await store.get_agent(tx, agent.agent_id)
        assert stored is not None
        await store.put_agent(tx, replace(stored, **fields))


async def test_the_server_keeps_to_the_limits_whatever_an_agent_says(
    world: World,
) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    greedy = Slots(plan=9, apply=9)
    for _ in range(5):
        await world.create(workspace, TaskType.PLAN)
    phases = [await world.claim(agent, greedy) for _ in range(3)]
    await world.nothing(agent, greedy)
    await phases[0].run_plan()
    await world.claim(agent, greedy)
    await world.nothing(agent, greedy)
    await change(world, agent, plan_task_limit=1)
    await phases[1].run_plan()
    await world.nothing(agent, greedy)


@pytest.mark.parametrize("beside", [False, True])
async def test_nothing_is_begun_beside_an_apply_unless_the_pool_allows(
    world: World, *, beside: bool
) -> None:
    pool_id = await world.pool("own", allow_apply_concurrent=beside)
    agent = await world.agent("one", pool_id)
    for _ in range(2):
        await world.create(await world.workspace(auto_apply=True))
    for _ in range(2):
        await (await world.claim(agent, Slots(plan=1))).run_plan()
    await world.create(await world.workspace(), TaskType.PLAN)
    apply = await world.claim(agent)
    assert apply.order.phase is PhaseName.APPLY
    await apply.started()
    world.clock.turn(seconds=70)
    await actions.expire_leases(world.tasks)
    assert (await world.task(apply.task_id)).agent_lost
    if beside:
        assert (await world.claim(agent)).order.phase is PhaseName.PLAN
    await world.nothing(agent)


@pytest.mark.parametrize("field", ["draining", "drain_requested"])
async def test_an_agent_that_drains_is_given_nothing(world: World, field: str) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace)
    await change(world, agent, **{field: True})
    await world.nothing(agent)
    await change(world, agent, **{field: False})
    await world.claim(agent)


async def test_an_agent_that_is_not_known_is_given_nothing(world: World) -> None:
    await world.create(await world.workspace())
    await world.nothing(AgentPrincipal(AgentId("agent-none"), POOL, ORG))


# --- what keeps one from something keeps nobody else ------------------------------


async def test_a_task_whose_log_has_ended_is_passed_over(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    broken = await world.create(workspace, TaskType.PLAN)
    await world.tasks.log.seal(broken.id, "failed")
    good = await world.create(workspace, TaskType.PLAN)
    assert (await world.claim(agent)).task_id == good.id
    assert (await world.task(broken.id)).lease is None


async def test_a_lock_and_a_claim_at_once_leave_one_holder(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)

    async def take() -> str:
        try:
            await lock_workspace(
                world.tasks.workspaces,
                workspace_id=workspace.id,
                actor="bob",
                reason="",
            )
        except LockedError:
            return "refused"
        return "locked"

    outcome, order = await asyncio.gather(take(), world.order(agent))
    holder = (await world.fresh(workspace)).lock
    if holder is None:
        # the claim passed over a workspace that was being changed
        assert (outcome, order) == ("refused", None)
    elif order is None:
        assert (outcome, holder.holder) == ("locked", "bob")
        assert (await world.task(task.id)).state is TaskState.QUEUED
    else:
        assert (outcome, holder.id) == ("refused", task.id)


async def test_a_lock_taken_between_the_look_and_the_claim_wins(
    postgres_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where two can write at a time; the other databases stand in line."""
    world = await make_world(Backing("postgresql", postgres_database), tmp_path)
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    other = await world.create(await world.workspace())
    look = world.tasks.store.claimable
    looks = 0

    async def slow_look(tx: Tx, wanted: Wanted, **more: Any) -> list[Task]:
        nonlocal looks
        looks += 1
        seen = await look(tx, wanted, **more)
        if looks == 1:
            await lock_workspace(
                world.tasks.workspaces,
                workspace_id=workspace.id,
                actor="bob",
                reason="",
            )
        return seen

    monkeypatch.setattr(world.tasks.store, "claimable", slow_look)
    assert (await world.claim(agent)).task_id == other.id
    assert looks == 2
    assert (await world.task(task.id)).state is TaskState.QUEUED
    holder = (await world.fresh(workspace)).lock
    assert holder is not None
    assert holder.holder == "bob"


async def test_a_workspace_that_somebody_changes_is_not_waited_for(
    postgres_database: Database, tmp_path: Path
) -> None:
    world = await make_world(Backing("postgresql", postgres_database), tmp_path)
    agent, busy = await world.agent(), await world.workspace()
    first = await world.create(busy)
    plan = await world.create(busy, TaskType.PLAN)
    other = await world.create(await world.workspace())
    async with world.transactions.write() as tx:
        await world.tasks.workspaces.store.hold(tx, busy.id)
        async with asyncio.timeout(30):
            assert (await world.claim(agent)).task_id == plan.id
            assert (await world.claim(agent)).task_id == other.id
            await world.nothing(agent)
    assert (await world.claim(agent)).task_id == first.id


async def test_plans_do_not_keep_applies_waiting(world: World) -> None:
    """What was created first comes first, however many plans come behind it."""
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.create(workspace)
    for _ in range(6):
        await world.create(workspace, TaskType.PLAN)
    await (await world.claim(agent)).run_plan()
    phase = await world.claim(agent)
    assert (phase.task_id, phase.order.phase) == (task.id, PhaseName.APPLY)


async def test_who_has_less_choice_chooses_first(world: World) -> None:
    agents = [await world.agent(name) for name in "ab"]
    workspace = await world.workspace()
    spaces = world.tasks.workspaces
    await lock_workspace(spaces, workspace_id=workspace.id, actor="bob", reason="")
    plan = await world.create(workspace)
    apply = await world.planned(agents[0], await world.workspace(auto_apply=True))
    await unlock_workspace(spaces, workspace_id=workspace.id, actor="bob")
    any_kind, plans = claimant(agents[0]), claimant(agents[1], Slots(plan=1))
    orders = await actions.claim_phases(world.tasks, claimants=[any_kind, plans])
    assert orders[agents[1].agent_id].task_id == plan.id
    assert orders[agents[0].agent_id].task_id == apply.id


# --- many at once ----------------------------------------------------------------


class Crowd:
    """Claimers that take all there is, as agents of pools with limits."""

    def __init__(self, *servers: TaskDeps) -> None:
        self.servers = servers
        self.given: list[tuple[AgentId, TaskId, str]] = []

    async def claimer(self, number: int, agents: Sequence[AgentPrincipal]) -> None:
        """Claim until there is nothing, twice at a time for each agent."""
        server = self.servers[number % len(self.servers)]
        mine = [agents[number % len(agents)], agents[(number + 1) % len(agents)]]
        idle = 0
        while idle < 3:
            orders = await actions.claim_phases(
                server, claimants=[claimant(agent) for agent in mine]
            )
            idle = 0 if orders else idle + 1
            for agent_id, order in orders.items():
                self.given.append((agent_id, TaskId(order.task_id), order.lease_id))


def on(deps: TaskDeps, transactions: Transactions) -> TaskDeps:
    """The same on connections of its own, as another server process has them."""
    workspaces = replace(deps.workspaces, transactions=transactions)
    return replace(deps, transactions=transactions, workspaces=workspaces)


@pytest.mark.parametrize(
    ("backing_url", "servers"),
    [("memory", 1), ("sqlite", 1), ("postgresql", 1), ("postgresql", 2)],
    indirect=["backing_url"],
)
async def test_16_claimers_are_given_no_phase_twice_and_no_more_than_the_limits(
    transactions: Backing, tmp_path: Path, servers: int
) -> None:
    world = await make_world(transactions, tmp_path)
    database = transactions.transactions
    other = database
    if isinstance(database, Database) and servers == 2:
        other = open_database(str(database.engine.url))
    far = await world.pool("far", labels=IDC1, max_plan_concurrency=5)
    agents = [await world.agent(f"near-{at}") for at in range(8)]
    agents += [await world.agent(f"far-{at}", far) for at in range(8)]
    workspaces = [await world.workspace() for _ in range(12)]
    workspaces += [await world.workspace(labels=IDC1) for _ in range(12)]
    tasks = [
        await world.create(workspace, kind)
        for kind in (*[TaskType.PLAN] * 8, *[TaskType.PLAN_AND_APPLY] * 2)
        for workspace in workspaces
    ]
    crowd = Crowd(world.tasks, on(world.tasks, other))
    async with asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(crowd.claimer(number, agents))
    if isinstance(other, Database) and other is not database:
        await other.close()
    given = [task_id for _, task_id, _ in crowd.given]
    assert len(set(given)) == len(given)
    held = Counter(agent_id for agent_id, _, _ in crowd.given)
    near_ids = {agent.agent_id for agent in agents[:8]}
    assert {held[agent.agent_id] for agent in agents[:8]} == {3}
    assert {held[agent.agent_id] for agent in agents[8:]} == {5}
    by_id = {task.id: task for task in tasks}
    for agent_id, task_id, lease_id in crowd.given:
        task = await world.task(task_id)
        assert task.lease is not None
        assert (task.lease.id, task.lease.agent_id) == (lease_id, agent_id)
        assert not by_id[task_id].labels or agent_id not in near_ids
    locked = Counter(
        by_id[task_id].workspace_id for task_id in given if by_id[task_id].needs_lock
    )
    assert all(count == 1 for count in locked.values())


async def test_what_was_created_first_is_given_first(world: World) -> None:
    workspaces = [await world.workspace() for _ in range(4)]
    agents = [await world.agent(f"a{at}") for at in range(8)]
    tasks = [
        await world.create(workspace, TaskType.PLAN)
        for _ in range(6)
        for workspace in workspaces
    ]
    for start in (0, 8, 16):
        asking = [claimant(agent) for agent in agents]
        orders = await actions.claim_phases(world.tasks, claimants=asking)
        now = [order.task_id for order in orders.values()]
        assert sorted(now) == sorted(task.id for task in tasks[start : start + 8])
