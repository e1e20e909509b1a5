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
        capabilities=("terraform",),
        busy=True,
        draining=False,
        plan_tasks_running=1,
        plan_task_limit=3,
        apply_task_running=False,
        current_tasks=("task-1",),
        cpu_usage=0.25,
        mem_usage=0.5,
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
    changed = replace(agent, busy=False, current_tasks=(), plan_tasks_running=0)
    await put(world, changed)
    store = world.agents.store
    async with world.transactions.read() as tx:
        assert await store.get_agent(tx, agent.id) == changed
        assert await store.get_agent(tx, AgentId("none")) is None
        found = await store.list_agents(tx, ORG)
        names = await store.agent_names(tx, [agent.id, AgentId("none")])
        assert await store.agent_names(tx, []) == {}
    assert [row.name for row in found] == ["a", "b"]
    assert names == {agent.id: "b"}


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
        replace(make_agent(world, "applying"), apply_task_running=True),
        make_agent(world, "foreign", other),
    )
    since = world.clock.now() - timedelta(seconds=30)
    store = world.agents.store
    async with world.transactions.read() as tx:
        assert await store.pool_facts(tx, ORG, POOL, since) == PoolFacts("idc1", 4, 1)
        assert await store.pool_facts(tx, ORG, None, since) == PoolFacts(None, 4, 1)
        none = await store.pool_facts(tx, ORG, other, since)
        assert (none.agents, none.free) == (0, 0)
