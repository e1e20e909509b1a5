"""Pools: made, changed, removed, and their tokens, on every kind of store."""

import asyncio

import pytest
from pydantic import ValidationError

from sluice.agents import actions, pool_actions
from sluice.auth.authenticator import Authenticator
from sluice.auth.model import AgentPrincipal, PoolPrincipal
from sluice.base.clock import SystemClock
from sluice.base.errors import ConflictError, NotFoundError, UnauthorizedError
from sluice.base.ids import PoolId
from sluice.events.topics import QUEUE
from sluice.tasks.leases import CurrentLeases
from sluice.wire.agent import PingRequest
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import PoolInput, PoolPatch
from tests.tasks.world import ORG, POOL, World


async def make_pool(world: World, name: str = "gpu") -> PoolId:
    made = await pool_actions.create_pool(
        world.agents, organization=ORG, wanted=PoolInput(name=name)
    )
    return made.id


async def pool_names(world: World) -> list[str]:
    found = await pool_actions.list_pools(world.agents, organization="default")
    return [pool.name for pool in found]


def authenticator(world: World) -> Authenticator:
    auth = world.agents.auth
    leases = CurrentLeases(world.transactions, world.tasks.store, SystemClock())
    return Authenticator(
        world.transactions, auth.store, auth.issuer, leases, world.clock
    )


async def test_pools_belong_to_an_organization(world: World) -> None:
    wanted = PoolInput(
        name="gpu",
        max_plan_concurrency=9,
        labels={"a": "b"},
        adaptive_concurrency=True,
        cpu_threshold=0.5,
    )
    made = await pool_actions.create_pool(world.agents, organization=ORG, wanted=wanted)
    assert (made.labels, made.max_plan_concurrency) == ({"a": "b"}, 9)
    assert (made.adaptive_concurrency, made.cpu_threshold) == (True, 0.5)
    assert await pool_actions.get_pool(world.agents, pool_id=made.id) == made
    assert await pool_names(world) == ["gpu", "idc1"]
    with pytest.raises(ConflictError, match="gpu"):
        await make_pool(world)
    with pytest.raises(NotFoundError):
        await pool_actions.list_pools(world.agents, organization="none")
    with pytest.raises(NotFoundError):
        await pool_actions.get_pool(world.agents, pool_id=PoolId("none"))
    with pytest.raises(NotFoundError):
        await pool_actions.issue_pool_token(
            world.agents, pool_id=PoolId("none"), wanted=TokenInput(name="x")
        )


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"a b": "x"},
        {"-a": "x"},
        {"a": "b c"},
        {"a": "x" * 64},
        {"k" * 64: "x"},
        {"a": "x\n"},
        {f"k{n}": "" for n in range(33)},
    ],
)
def test_labels_that_are_none_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="label"):
        PoolInput(name="x", labels=labels)


def test_usual_labels_are_taken() -> None:
    labels = {"region": "idc1", "example.com/tier": "a:b@c+d", "gpu": "", "x": "2"}
    assert PoolInput(name="x", labels=labels).labels == labels


async def test_a_patch_changes_what_it_names_and_wakes_who_waits(world: World) -> None:
    before = await pool_actions.get_pool(world.agents, pool_id=POOL)
    with world.agents.hub.subscribe(QUEUE) as queue:
        changed = await pool_actions.change_pool(
            world.agents,
            pool_id=POOL,
            patch=PoolPatch(labels={"region": "eu"}, max_plan_concurrency=1),
        )
        assert await queue.wait(5)
    assert changed.labels == {"region": "eu"}
    assert changed.max_plan_concurrency == 1
    assert (changed.name, changed.created_at) == (before.name, before.created_at)
    assert await pool_actions.get_pool(world.agents, pool_id=POOL) == changed
    cleared = await pool_actions.change_pool(
        world.agents, pool_id=POOL, patch=PoolPatch(labels={})
    )
    assert cleared.labels == {}
    await make_pool(world, "taken")
    with pytest.raises(ConflictError, match="taken"):
        await pool_actions.change_pool(
            world.agents, pool_id=POOL, patch=PoolPatch(name="taken")
        )
    with pytest.raises(NotFoundError):
        await pool_actions.change_pool(
            world.agents, pool_id=PoolId("none"), patch=PoolPatch(name="x")
        )


async def test_a_changed_rule_reaches_agents_by_their_ping_and_grants_at_once(
    world: World,
) -> None:
    agent = await world.agent()
    for _ in range(2):
        await world.create(await world.workspace())
    await world.claim(agent)
    await pool_actions.change_pool(
        world.agents,
        pool_id=POOL,
        patch=PoolPatch(
            max_plan_concurrency=1, adaptive_concurrency=True, mem_threshold=0.5
        ),
    )
    await world.nothing(agent)
    said = PingRequest(agent_id=agent.agent_id, busy=True, plan_task_limit=3)
    told = (await actions.ping(world.agents, caller=agent, said=said)).pool
    assert (told.max_plan_concurrency, told.adaptive_concurrency) == (1, True)
    assert (told.cpu_threshold, told.mem_threshold) == (0.85, 0.5)


# --- removal -----------------------------------------------------------------------


async def delete(world: World, pool_id: PoolId) -> None:
    await pool_actions.delete_pool(world.agents, pool_id=pool_id)


async def test_a_pool_goes_with_its_tokens_and_its_agents(world: World) -> None:
    pool_id = await make_pool(world)
    agent = await world.agent("gone", pool_id)
    issued = await pool_actions.issue_pool_token(
        world.agents, pool_id=pool_id, wanted=TokenInput(name="first")
    )
    known = authenticator(world)
    assert await known.authenticate(issued.secret) == PoolPrincipal(
        pool_id, ORG, issued.token.id
    )
    world.clock.turn(seconds=36)
    await delete(world, pool_id)
    assert await pool_names(world) == ["idc1"]
    assert await actions.list_agents(world.agents, organization=ORG) == []
    with pytest.raises(UnauthorizedError):
        await known.authenticate(issued.secret)
    said = PingRequest(agent_id=agent.agent_id, busy=False)
    with pytest.raises(NotFoundError):
        await actions.ping(world.agents, caller=agent, said=said)
    with pytest.raises(NotFoundError):
        await delete(world, pool_id)


async def test_a_pool_that_a_workspace_names_stays(world: World) -> None:
    pool_id = await make_pool(world)
    workspace = await world.workspace(pool_id=pool_id)
    with pytest.raises(ConflictError, match=workspace.name):
        await delete(world, pool_id)


async def test_a_pool_with_a_living_agent_stays(world: World) -> None:
    pool_id = await make_pool(world)
    await world.agent("living", pool_id)
    with pytest.raises(ConflictError, match=r"heard of lately: living"):
        await delete(world, pool_id)


async def test_a_pool_with_unfinished_tasks_stays(world: World) -> None:
    pool_id = await make_pool(world)
    script = await world.script(pool_id=pool_id)
    with pytest.raises(ConflictError, match=script.id):
        await delete(world, pool_id)
    phase = await world.claim(await world.agent("worker", pool_id))
    await phase.run_script()
    world.clock.turn(seconds=36)
    await delete(world, pool_id)


async def test_a_pool_whose_lost_agent_holds_a_task_stays(world: World) -> None:
    pool_id = await make_pool(world)
    agent = await world.agent("lost", pool_id)
    await world.create(await world.workspace())
    phase = await world.claim(agent)
    world.clock.turn(seconds=36)
    with pytest.raises(ConflictError, match=f"lost.*{phase.task_id}"):
        await delete(world, pool_id)


async def test_a_pool_is_not_removed_under_an_agent_that_registers(
    world: World,
) -> None:
    """Either the agent comes first and the pool stays, or there is no pool for it."""
    for _ in range(5):
        pool_id = await make_pool(world)
        joined, deleted = await asyncio.gather(
            world.agent("new", pool_id),
            delete(world, pool_id),
            return_exceptions=True,
        )
        if isinstance(joined, AgentPrincipal):
            assert isinstance(deleted, ConflictError)
            world.clock.turn(seconds=36)
            await delete(world, pool_id)
        else:
            assert isinstance(joined, NotFoundError)
            assert deleted is None


# --- tokens ------------------------------------------------------------------------


async def test_a_pools_token_registers_until_it_is_revoked(world: World) -> None:
    issued = await pool_actions.issue_pool_token(
        world.agents, pool_id=POOL, wanted=TokenInput(name="first")
    )
    known = authenticator(world)
    caller = await known.authenticate(issued.secret)
    assert caller == PoolPrincipal(POOL, ORG, issued.token.id)
    (listed,) = await pool_actions.pool_tokens(world.agents, pool_id=POOL)
    assert listed.name == "first"
    end = pool_actions.end_pool_token
    await end(world.agents, pool_id=POOL, token_id=issued.token.id)
    with pytest.raises(UnauthorizedError):
        await known.authenticate(issued.secret)
    assert await pool_actions.pool_tokens(world.agents, pool_id=POOL) == []
    with pytest.raises(NotFoundError):
        await end(world.agents, pool_id=POOL, token_id=issued.token.id)
