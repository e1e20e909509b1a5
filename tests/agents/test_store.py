"""The port suite of pools and agents: memory, SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.agents.model import Agent, Pool
from sluice.auth.model import Organization
from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.tasks.queue import PoolFacts
from tests.tasks.world import ORG, POOL, World


def make_agent(world: World, name: str, pool_id: PoolId = POOL) -> Agent:
    return Agent(
        id=AgentId(f"agent-{name}"),
        pool_id=pool_id,
        name=name,
        version="0.1",
        registered_at=world.clock.now(),
        last_seen_at=world.clock.now(),
        labels={"region": "eu"},
        instance=f"dir-{name}",
        capabilities=("terraform",),
        busy=True,
        draining=False,
        plan_tasks_running=1,
        plan_task_limit=3,
        apply_task_running=False,
        current_tasks=("task-1",),
        cpu_usage=0.25,
        mem_usage=0.5,
        loops={"ping": {"doing": "pinging", "since": "2026-11-21T10:00:00Z"}},
    )


async def put(world: World, *agents: Agent) -> None:
    async with world.transactions.write() as tx:
        for agent in agents:
            await world.agents.store.put_agent(tx, agent)


async def other_organization(world: World) -> PoolId:
    other, pool_id = OrganizationId("org-2"), PoolId("pool-2")
    async with world.transactions.write() as tx:
        await world.agents.auth.store.add_organization(
            tx, Organization(other, "other", world.clock.now())
        )
        await world.agents.store.add_pool(
            tx, Pool(pool_id, other, "idc1", world.clock.now())
        )
    return pool_id


async def test_pools_come_back_as_stored_and_have_a_name_of_their_own(
    world: World,
) -> None:
    pool = Pool(
        PoolId("pool-9"),
        ORG,
        "another",
        world.clock.now(),
        labels={"region": "eu"},
        max_plan_concurrency=7,
        allow_apply_concurrent=True,
        adaptive_concurrency=True,
        cpu_threshold=0.7,
        mem_threshold=0.8,
    )
    store = world.agents.store
    async with world.transactions.write() as tx:
        await store.add_pool(tx, pool)
    async with world.transactions.read() as tx:
        assert await store.get_pool(tx, pool.id) == pool
        assert await store.get_pool(tx, PoolId("none")) is None
        assert [p.name for p in await store.list_pools(tx, ORG)] == ["another", "idc1"]
        assert await store.pool_organization(tx, pool.id) == ORG
        assert await store.pool_organization(tx, PoolId("none")) is None
    with pytest.raises(ConflictError, match="another"):
        async with world.transactions.write() as tx:
            await store.add_pool(tx, replace(pool, id=PoolId("pool-10")))


async def test_agents_come_back_as_stored(world: World) -> None:
    agent = make_agent(world, "b")
    await put(world, agent, make_agent(world, "a"))
    changed = replace(
        agent,
        busy=False,
        current_tasks=(),
        plan_tasks_running=0,
        drain_requested=True,
        drain_by="ann",
        drain_reason="a new disk",
        drain_at=world.clock.now(),
        loops={},
    )
    await put(world, changed)
    store = world.agents.store
    async with world.transactions.read() as tx:
        assert await store.get_agent(tx, agent.id) == changed
        assert await store.get_agent(tx, AgentId("none")) is None
        found = await store.list_agents(tx, ORG)
        names = await store.agent_names(tx, [agent.id, AgentId("none")])
        assert await store.agent_names(tx, []) == {}
    assert [row.name for row in found] == ["a", "b"]
    assert [dict(row.loops) for row in found] == [{}, {}]
    assert found[1] == changed
    assert names == {agent.id: "b"}


async def test_pools_change_and_keep_names_of_their_own(world: World) -> None:
    store = world.agents.store
    pool = Pool(PoolId("pool-9"), ORG, "another", world.clock.now())
    async with world.transactions.write() as tx:
        await store.add_pool(tx, pool)
    changed = replace(
        pool,
        name="renamed",
        labels={"disk": "fast"},
        max_plan_concurrency=9,
        allow_apply_concurrent=True,
        adaptive_concurrency=True,
        cpu_threshold=0.5,
        mem_threshold=0.6,
    )
    async with world.transactions.write() as tx:
        assert await store.hold_pool(tx, pool.id) == pool
        assert await store.hold_pool(tx, PoolId("none")) is None
        await store.save_pool(tx, changed)
    async with world.transactions.read() as tx:
        assert await store.get_pool(tx, pool.id) == changed
        assert (await store.get_pool(tx, POOL)) != changed
    with pytest.raises(ConflictError, match="idc1"):
        async with world.transactions.write() as tx:
            await store.save_pool(tx, replace(changed, name="idc1"))


async def test_a_pool_goes_with_its_agents_and_no_others(world: World) -> None:
    store = world.agents.store
    pool = Pool(PoolId("pool-9"), ORG, "another", world.clock.now())
    async with world.transactions.write() as tx:
        await store.add_pool(tx, pool)
    await put(world, make_agent(world, "a", pool.id), make_agent(world, "b"))
    async with world.transactions.write() as tx:
        await store.delete_pool(tx, pool.id)
    async with world.transactions.read() as tx:
        assert await store.get_pool(tx, pool.id) is None
        assert [row.name for row in await store.list_agents(tx, ORG)] == ["b"]


@pytest.mark.parametrize("backing_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_pool_that_a_workspace_names_stays(world: World) -> None:
    pool_id = await world.pool("named")
    await world.workspace(pool_id=pool_id)
    with pytest.raises(ConflictError, match="named by a workspace"):
        async with world.transactions.write() as tx:
            await world.agents.store.delete_pool(tx, pool_id)
    async with world.transactions.read() as tx:
        assert await world.agents.store.get_pool(tx, pool_id) is not None


async def test_agents_of_a_pool_come_by_when_they_were_heard_of(world: World) -> None:
    other = await other_organization(world)
    now = world.clock.now()
    early, late = make_agent(world, "a"), make_agent(world, "b")
    late = replace(late, last_seen_at=now + timedelta(minutes=1))
    namesake = replace(late, id=AgentId("agent-z"), last_seen_at=now)
    await put(world, early, namesake, late, make_agent(world, "foreign", other))
    store = world.agents.store
    async with world.transactions.write() as tx:
        assert await store.agents_of(tx, POOL) == [late, early, namesake]
        assert await store.agents_of(tx, POOL, "b") == [late, namesake]
        assert await store.agents_of(tx, POOL, "foreign") == []


async def test_agents_are_held_and_forgotten(world: World) -> None:
    agent, other = make_agent(world, "a"), make_agent(world, "b")
    await put(world, agent, other)
    store = world.agents.store
    async with world.transactions.write() as tx:
        assert await store.hold_agent(tx, agent.id) == agent
        assert await store.hold_agent(tx, AgentId("none")) is None
        await store.delete_agent(tx, agent.id)
        assert await store.get_agent(tx, agent.id) is None
        assert await store.agents_of(tx, POOL) == [other]


async def test_what_a_waiting_task_is_told_of_agents(world: World) -> None:
    other = await other_organization(world)
    old = replace(
        make_agent(world, "old"), last_seen_at=world.clock.now() - timedelta(minutes=5)
    )
    await put(
        world,
        old,
        make_agent(world, "free"),
        replace(make_agent(world, "full"), plan_tasks_running=3),
        replace(make_agent(world, "draining"), draining=True),
        replace(make_agent(world, "asked"), drain_requested=True),
        replace(make_agent(world, "applying"), apply_task_running=True),
        make_agent(world, "foreign", other),
    )
    since = world.clock.now() - timedelta(seconds=30)
    store = world.agents.store
    async with world.transactions.read() as tx:
        assert await store.pools(tx, ORG, since) == [PoolFacts(POOL, "idc1", 5, 1)]
        assert await store.pools(tx, OrganizationId("none"), since) == []
        assert await store.pool_labels(tx, [POOL, PoolId("none")]) == {POOL: {}}


async def test_what_a_claim_is_told_of_agents(world: World) -> None:
    full = replace(make_agent(world, "full"), plan_task_limit=2)
    greedy = replace(make_agent(world, "greedy"), plan_task_limit=50)
    asked = replace(make_agent(world, "asked"), drain_requested=True)
    await put(world, full, greedy, asked)
    wanted = [full.id, greedy.id, asked.id, AgentId("none")]
    async with world.transactions.write() as tx:
        found = await world.agents.store.claim_facts(tx, wanted)
    assert {
        agent_id: (facts.plan_limit, facts.takes_work)
        for agent_id, facts in found.items()
    } == {full.id: (2, True), greedy.id: (3, True), asked.id: (3, False)}
    assert {facts.pool_id for facts in found.values()} == {POOL}
