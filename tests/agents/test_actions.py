"""Register, ping, pull, and the tokens of pools."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sluice.agents import actions
from sluice.auth.authenticator import Authenticator
from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import AgentPrincipal, PoolPrincipal
from sluice.base.clock import SystemClock
from sluice.base.errors import ConflictError, NotFoundError, UnauthorizedError
from sluice.base.ids import AgentId, PoolId, TokenId
from sluice.events.topics import QUEUE
from sluice.tasks import actions as task_actions
from sluice.tasks.actions import CurrentLeases
from sluice.wire.agent import (
    CommandType,
    PingRequest,
    PullRequest,
    RegisterRequest,
    Slots,
)
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import AgentState, PoolInput
from tests.tasks.world import BOTH, ORG, POOL, World

CALLER = PoolPrincipal(POOL, ORG, TokenId("tok-1"))


def asking(**fields: object) -> RegisterRequest:
    return RegisterRequest.model_validate({"name": "b", "version": "1", **fields})


async def ping(world: World, agent: AgentPrincipal, **fields: object) -> list[str]:
    said = PingRequest.model_validate(
        {"agent_id": agent.agent_id, "busy": False, "plan_task_limit": 3, **fields}
    )
    answer = await actions.ping(world.agents, caller=agent, said=said)
    assert isinstance(world.agents.tokens, TokenIssuer)
    assert world.agents.tokens.verify(answer.token) == agent
    return [f"{command.type} {command.task_id}" for command in answer.commands]


# --- register ----------------------------------------------------------------


async def test_a_new_agent_gets_an_identity_and_a_token(world: World) -> None:
    answer = await actions.register(world.agents, caller=CALLER, wanted=asking())
    assert (answer.pool.pool_id, answer.pool.name) == (POOL, "idc1")
    assert answer.pool.max_plan_concurrency == 3
    assert isinstance(world.agents.tokens, TokenIssuer)
    assert world.agents.tokens.verify(answer.token) == AgentPrincipal(
        AgentId(answer.agent_id), POOL, ORG
    )
    (seen,) = await actions.list_agents(world.agents, organization="default")
    assert seen.agent.id == answer.agent_id
    assert seen.state is AgentState.IDLE


async def test_an_agent_that_comes_back_is_the_same(world: World) -> None:
    first = await actions.register(world.agents, caller=CALLER, wanted=asking())
    again = await actions.register(
        world.agents, caller=CALLER, wanted=asking(agent_id=first.agent_id, version="2")
    )
    assert again.agent_id == first.agent_id
    other = await actions.register(world.agents, caller=CALLER, wanted=asking())
    assert other.agent_id != first.agent_id
    unknown = await actions.register(
        world.agents, caller=CALLER, wanted=asking(agent_id="agent-none")
    )
    assert unknown.agent_id not in ("agent-none", first.agent_id)


async def test_another_pools_identity_is_not_taken_up(world: World) -> None:
    first = await actions.register(world.agents, caller=CALLER, wanted=asking())
    pool = await actions.create_pool(
        world.agents, organization="default", wanted=PoolInput(name="idc2")
    )
    other = await actions.register(
        world.agents,
        caller=PoolPrincipal(pool.id, ORG, TokenId("tok-2")),
        wanted=asking(agent_id=first.agent_id),
    )
    assert other.agent_id != first.agent_id


# --- ping --------------------------------------------------------------------


async def test_a_ping_says_how_the_agent_is_and_keeps_it_alive(world: World) -> None:
    agent = await world.agent()

    async def state() -> AgentState:
        (seen,) = await actions.list_agents(world.agents, organization=ORG)
        return seen.state

    await ping(world, agent, busy=True, cpu_usage=0.4, current_tasks=["task-1"])
    (seen,) = await actions.list_agents(world.agents, organization=ORG)
    assert seen.state is AgentState.BUSY
    assert seen.agent.cpu_usage == 0.4
    assert seen.agent.current_tasks == ("task-1",)
    await ping(world, agent, draining=True)
    assert await state() is AgentState.DRAINING
    world.clock.turn(seconds=40)
    assert await state() is AgentState.OFFLINE
    await ping(world, agent)
    assert await state() is AgentState.IDLE


async def test_a_ping_renews_leases_and_brings_commands(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    for _ in range(4):
        world.clock.turn(seconds=40)
        assert await ping(world, agent, leases=[phase.lease_id]) == []
        await task_actions.expire_leases(world.tasks)
    assert (await world.task(task.id)).lease is not None
    await task_actions.cancel(world.tasks, task_id=task.id, actor="ann", reason="")
    expected = [f"{CommandType.CANCEL} {task.id}"]
    assert await ping(world, agent, leases=[phase.lease_id]) == expected
    assert await ping(world, agent, leases=[phase.lease_id]) == expected


async def test_an_unknown_agent_is_told_to_register(world: World) -> None:
    with pytest.raises(NotFoundError, match="register again"):
        await ping(world, AgentPrincipal(AgentId("agent-none"), POOL, ORG))


# --- pull --------------------------------------------------------------------


async def still_there() -> bool:
    return False


async def pull(
    world: World,
    agent: AgentPrincipal,
    wait: float = 0,
    slots: Slots = BOTH,
    gone: Callable[[], Awaitable[bool]] = still_there,
) -> str | None:
    order = await actions.pull(
        world.agents,
        caller=agent,
        wanted=PullRequest(slots=slots, wait_seconds=wait),
        gone=gone,
    )
    return None if order is None else order.task_id


async def test_what_waits_is_given_at_once(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    assert await pull(world, agent) is None
    task = await world.create(workspace)
    assert await pull(world, agent, slots=Slots()) is None
    assert await pull(world, agent) == task.id


async def test_a_waiting_pull_gets_a_new_task_by_its_wake_up(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        waiting = group.create_task(pull(world, agent, wait=30))
        await asyncio.sleep(0.05)
        task = await world.create(workspace)
    assert waiting.result() == task.id


async def test_a_lost_wake_up_delays_and_never_stalls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "LOOK_AGAIN_SECONDS", 0.05)
    agent, workspace = await world.agent(), await world.workspace()
    monkeypatch.setattr(world.tasks.hub, "publish", lambda topic: None)
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        waiting = group.create_task(pull(world, agent, wait=30))
        await asyncio.sleep(0.05)
        task = await world.create(workspace)
    assert waiting.result() == task.id


async def test_work_is_not_given_to_a_closed_connection(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    closed = False

    async def gone() -> bool:
        return closed

    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        waiting = group.create_task(pull(world, agent, wait=30, gone=gone))
        await asyncio.sleep(0.05)
        closed = True
        task = await world.create(workspace)
    assert waiting.result() is None
    assert await pull(world, agent) == task.id


async def test_many_waiting_pulls_share_the_work_without_repeating_it(
    world: World,
) -> None:
    agents = [await world.agent(f"a{number}") for number in range(6)]
    workspaces = [await world.workspace() for _ in range(4)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        pulls = [group.create_task(pull(world, agent, wait=2)) for agent in agents]
        await asyncio.sleep(0.05)
        tasks = [await world.create(workspace) for workspace in workspaces]
        for _ in range(3):
            world.tasks.hub.publish(QUEUE)
            await asyncio.sleep(0.1)
        while sum(one.done() for one in pulls) < 4:
            await asyncio.sleep(0.05)
        world.clock.turn(seconds=60)
        world.tasks.hub.publish(QUEUE)
    taken = [task_id for one in pulls if (task_id := one.result()) is not None]
    assert sorted(taken) == sorted(task.id for task in tasks)


# --- pools -------------------------------------------------------------------


async def test_a_pools_token_registers_until_it_is_revoked(world: World) -> None:
    issued = await actions.issue_pool_token(
        world.agents, pool_id=POOL, wanted=TokenInput(name="first")
    )
    auth = world.agents.auth
    authenticator = Authenticator(
        world.transactions,
        auth.store,
        auth.issuer,
        CurrentLeases(world.transactions, world.tasks.store, SystemClock()),
        world.clock,
    )
    caller = await authenticator.authenticate(issued.secret)
    assert caller == PoolPrincipal(POOL, ORG, issued.token.id)
    (listed,) = await actions.pool_tokens(world.agents, pool_id=POOL)
    assert listed.name == "first"
    await actions.end_pool_token(world.agents, pool_id=POOL, token_id=issued.token.id)
    with pytest.raises(UnauthorizedError):
        await authenticator.authenticate(issued.secret)
    assert await actions.pool_tokens(world.agents, pool_id=POOL) == []
    with pytest.raises(NotFoundError):
        await actions.end_pool_token(
            world.agents, pool_id=POOL, token_id=issued.token.id
        )


async def test_pools_belong_to_an_organization(world: World) -> None:
    made = await actions.create_pool(
        world.agents,
        organization=ORG,
        wanted=PoolInput(name="gpu", max_plan_concurrency=9, labels={"a": "b"}),
    )
    assert await actions.get_pool(world.agents, pool_id=made.id) == made
    found = await actions.list_pools(world.agents, organization="default")
    assert [pool.name for pool in found] == ["gpu", "idc1"]
    with pytest.raises(ConflictError, match="gpu"):
        await actions.create_pool(
            world.agents, organization=ORG, wanted=PoolInput(name="gpu")
        )
    with pytest.raises(NotFoundError):
        await actions.list_pools(world.agents, organization="none")
    with pytest.raises(NotFoundError):
        await actions.get_pool(world.agents, pool_id=PoolId("none"))
    with pytest.raises(NotFoundError):
        await actions.issue_pool_token(
            world.agents, pool_id=PoolId("none"), wanted=TokenInput(name="x")
        )
