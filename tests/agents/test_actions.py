"""Register, ping, drain and look, on every kind of store."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sluice.agents import actions
from sluice.agents.actions import AgentDeps, SeenAgent
from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import AgentPrincipal, PoolPrincipal
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import AgentId, PoolId, TokenId
from sluice.events.topics import agent_topic
from sluice.tasks import actions as task_actions
from sluice.wire.agent import (
    Command,
    CommandType,
    PingRequest,
    PingResponse,
    RegisterRequest,
    RegisterResponse,
)
from sluice.wire.shapes.pools import AgentState
from tests.tasks.world import ORG, POOL, World

CALLER = PoolPrincipal(POOL, ORG, TokenId("tok-1"))


async def register(
    world: World,
    deps: AgentDeps | None = None,
    caller: PoolPrincipal = CALLER,
    **fields: Any,
) -> RegisterResponse:
    wanted = RegisterRequest.model_validate({"name": "b", "version": "0.1", **fields})
    return await actions.register(deps or world.agents, caller=caller, wanted=wanted)


async def ping(
    world: World,
    agent: AgentPrincipal,
    deps: AgentDeps | None = None,
    **fields: Any,
) -> PingResponse:
    said = PingRequest.model_validate(
        {"agent_id": agent.agent_id, "busy": False, "plan_task_limit": 3, **fields}
    )
    return await actions.ping(deps or world.agents, caller=agent, said=said)


async def commands(world: World, agent: AgentPrincipal, **fields: Any) -> list[str]:
    """What a ping brings, in short; its token is a good one."""
    answer = await ping(world, agent, **fields)
    assert isinstance(world.agents.tokens, TokenIssuer)
    assert world.agents.tokens.verify(answer.token) == agent
    return [short(command) for command in answer.commands]


def short(command: Command) -> str:
    return f"{command.type} {command.task_id or command.reason}"


async def seen(world: World) -> list[SeenAgent]:
    return await actions.list_agents(world.agents, organization=ORG)


async def state(world: World) -> AgentState:
    (only,) = await seen(world)
    return only.state


def principal(answer: RegisterResponse) -> AgentPrincipal:
    return AgentPrincipal(AgentId(answer.agent_id), POOL, ORG)


# --- who an agent is ---------------------------------------------------------------


async def test_a_new_agent_gets_an_identity_and_a_token(world: World) -> None:
    answer = await register(world, labels={"disk": "fast"}, capabilities=["script"])
    assert (answer.pool.pool_id, answer.pool.name) == (POOL, "idc1")
    assert answer.pool.max_plan_concurrency == 3
    assert isinstance(world.agents.tokens, TokenIssuer)
    assert world.agents.tokens.verify(answer.token) == principal(answer)
    (only,) = await actions.list_agents(world.agents, organization="default")
    assert only.agent.id == answer.agent_id
    assert only.state is AgentState.IDLE
    assert only.pool_name == "idc1"
    assert only.agent.labels == {"disk": "fast"}
    assert only.agent.capabilities == ("script",)


async def test_an_agent_that_comes_back_is_the_same(world: World) -> None:
    first = await register(world, instance="dir-1")
    again = await register(
        world,
        agent_id=first.agent_id,
        instance="dir-1",
        version="0.1.9",
        name="renamed",
    )
    assert again.agent_id == first.agent_id
    (only,) = await seen(world)
    assert (only.agent.name, only.agent.version) == ("renamed", "0.1.9")
    unknown = await register(world, agent_id="agent-none")
    assert unknown.agent_id not in ("agent-none", first.agent_id)


async def test_two_living_agents_of_one_name_stay_two(world: World) -> None:
    first = await register(world, instance="dir-1")
    second = await register(world, instance="dir-2")
    assert second.agent_id != first.agent_id
    for answer, instance in ((first, "dir-1"), (second, "dir-2")):
        assert await commands(world, principal(answer), instance=instance) == []
        again = await register(world, agent_id=answer.agent_id, instance=instance)
        assert again.agent_id == answer.agent_id
    assert len(await seen(world)) == 2


async def test_a_name_without_an_id_takes_up_the_agent_that_is_away(
    world: World,
) -> None:
    """As after a restart in a container that keeps nothing on its disk."""
    first = await register(world, instance="dir-1")
    world.clock.turn(seconds=36)
    again = await register(world, instance="dir-2")
    assert again.agent_id == first.agent_id
    assert len(await seen(world)) == 1


async def test_an_identity_that_holds_work_is_not_taken_up_by_its_name(
    world: World,
) -> None:
    first = await register(world)
    await world.create(await world.workspace())
    await world.claim(principal(first))
    world.clock.turn(seconds=36)
    other = await register(world)
    assert other.agent_id != first.agent_id
    kept = await register(world, agent_id=first.agent_id)
    assert kept.agent_id == first.agent_id


async def test_who_comes_back_to_an_identity_that_another_took_up_is_a_new_agent(
    world: World,
) -> None:
    first = await register(world, instance="dir-1")
    world.clock.turn(seconds=36)
    heir = await register(world, instance="dir-2")
    assert heir.agent_id == first.agent_id
    with pytest.raises(NotFoundError, match="register again"):
        await ping(world, principal(first), instance="dir-1")
    assert await commands(world, principal(heir), instance="dir-2") == []
    back = await register(world, agent_id=first.agent_id, instance="dir-1")
    assert back.agent_id != first.agent_id
    assert len(await seen(world)) == 2


async def test_another_pools_identity_is_not_taken_up(world: World) -> None:
    first = await register(world)
    pool_id = await world.pool("idc2")
    caller = PoolPrincipal(pool_id, ORG, TokenId("tok-2"))
    other = await register(world, caller=caller, agent_id=first.agent_id)
    assert other.agent_id != first.agent_id


async def test_agents_that_register_at_once_are_all_there(world: World) -> None:
    answers = await asyncio.gather(*(register(world) for _ in range(5)))
    assert len({answer.agent_id for answer in answers}) == 5
    assert len(await seen(world)) == 5


async def test_a_pool_that_is_gone_takes_nobody(world: World) -> None:
    with pytest.raises(NotFoundError, match="pool-none"):
        await register(
            world, caller=PoolPrincipal(PoolId("pool-none"), ORG, TokenId("tok-1"))
        )


# --- versions ----------------------------------------------------------------------


async def test_an_agent_of_another_version_is_told_what_to_do(world: World) -> None:
    server = replace(world.agents, version="1.4.0")
    older = await register(world, server, name="older", version="1.3.7")
    assert "upgrade it to 1.4.0" in older.advice
    assert (await register(world, server, name="same", version="1.4.2")).advice == ""
    assert (await register(world, server, name="newer", version="1.5.0")).advice == ""
    with pytest.raises(ConflictError, match=r"Upgrade the agent to 1\.4\.0") as refused:
        await register(world, server, name="old", version="1.2.9")
    assert refused.value.extra == {"agent_version": "1.2.9", "server_version": "1.4.0"}
    with pytest.raises(ConflictError, match="Upgrade the server first"):
        await register(world, server, name="new", version="1.6.0")
    found = await actions.list_agents(server, organization=ORG)
    assert {one.agent.name: bool(one.advice) for one in found} == {
        "newer": False,
        "older": True,
        "same": False,
    }


async def test_an_upgraded_server_advises_and_drains_agents_it_left_behind(
    world: World,
) -> None:
    agent = await world.agent()
    later = replace(world.agents, version="0.2.0")
    answer = await ping(world, agent, later, version="0.1.0")
    assert "upgrade it to 0.2.0" in answer.advice
    assert answer.commands == []
    much_later = replace(world.agents, version="0.3.0")
    answer = await ping(world, agent, much_later, version="0.1.0")
    assert "too old" in answer.advice
    assert [short(one) for one in answer.commands] == [f"drain {answer.advice}"]
    answer = await ping(world, agent, much_later, version="0.1.0", draining=True)
    assert answer.commands == []


# --- ping --------------------------------------------------------------------------


async def test_a_ping_says_how_the_agent_is_and_keeps_it_alive(world: World) -> None:
    agent = await world.agent()
    loops = {"pull": {"doing": "waiting for work", "since": "2026-11-21T10:00:00Z"}}
    await commands(
        world,
        agent,
        busy=True,
        cpu_usage=0.4,
        mem_usage=0.5,
        current_tasks=["task-1"],
        loops=loops,
    )
    (only,) = await seen(world)
    assert only.agent.loops == {}
    only = await actions.get_agent(world.agents, agent_id=agent.agent_id)
    assert only.state is AgentState.BUSY
    assert (only.agent.cpu_usage, only.agent.mem_usage) == (0.4, 0.5)
    assert only.agent.current_tasks == ("task-1",)
    assert only.agent.loops == loops
    await commands(world, agent, draining=True, ending=True)
    assert await state(world) is AgentState.DRAINING
    world.clock.turn(seconds=36)
    assert await state(world) is AgentState.OFFLINE
    await commands(world, agent)
    assert await state(world) is AgentState.IDLE


async def test_a_ping_renews_leases_and_brings_commands(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    for _ in range(4):
        world.clock.turn(seconds=40)
        assert await commands(world, agent, leases=[phase.lease_id]) == []
        await task_actions.expire_leases(world.tasks)
    assert (await world.task(task.id)).lease is not None
    await task_actions.cancel(world.tasks, task_id=task.id, actor="ann", reason="")
    expected = [f"{CommandType.CANCEL} {task.id}"]
    assert await commands(world, agent, leases=[phase.lease_id]) == expected
    assert await commands(world, agent, leases=[phase.lease_id]) == expected


async def test_a_cancel_wakes_the_connections_of_its_agent(world: World) -> None:
    agent = await world.agent()
    task = await world.create(await world.workspace())
    await world.claim(agent)
    with world.agents.hub.subscribe(agent_topic(agent.agent_id)) as orders:
        await task_actions.cancel(world.tasks, task_id=task.id, actor="ann", reason="")
        assert await orders.wait(5)


async def test_an_unknown_agent_is_told_to_register(world: World) -> None:
    with pytest.raises(NotFoundError, match="register again"):
        await ping(world, AgentPrincipal(AgentId("agent-none"), POOL, ORG))


# --- drain and resume --------------------------------------------------------------


async def drain(world: World, agent: AgentPrincipal) -> SeenAgent:
    return await actions.drain(
        world.agents, agent_id=agent.agent_id, actor="ann", reason="a new disk"
    )


async def resume(world: World, agent: AgentPrincipal) -> SeenAgent:
    return await actions.resume(
        world.agents, agent_id=agent.agent_id, actor="bob", reason="done"
    )


async def test_a_drain_is_asked_until_the_agent_says_so(world: World) -> None:
    agent = await world.agent()
    asked = await drain(world, agent)
    assert asked.state is AgentState.DRAINING
    assert (asked.agent.drain_by, asked.agent.drain_reason) == ("ann", "a new disk")
    assert asked.agent.drain_at == world.clock.now()
    for _ in range(2):
        assert await commands(world, agent) == ["drain ann: a new disk"]
    assert await commands(world, agent, draining=True) == []
    await resume(world, agent)
    for _ in range(2):
        assert await commands(world, agent, draining=True) == ["resume bob: done"]
    assert await commands(world, agent) == []
    assert await state(world) is AgentState.IDLE


async def test_a_drain_wakes_the_agents_open_connections(world: World) -> None:
    agent = await world.agent()
    with world.agents.hub.subscribe(agent_topic(agent.agent_id)) as orders:
        await drain(world, agent)
        assert await orders.wait(5)
        await resume(world, agent)
        assert await orders.wait(5)


async def test_an_agent_that_ends_is_not_asked_to_go_on(world: World) -> None:
    agent = await world.agent()
    assert await commands(world, agent, draining=True, ending=True) == []


async def test_a_drain_outlasts_the_agents_restart(world: World) -> None:
    first = await register(world)
    await drain(world, principal(first))
    again = await register(world, agent_id=first.agent_id)
    assert again.agent_id == first.agent_id
    assert await state(world) is AgentState.DRAINING
    assert await commands(world, principal(again)) == ["drain ann: a new disk"]


async def test_a_drained_agent_is_given_nothing_even_before_it_knows(
    world: World,
) -> None:
    agent = await world.agent()
    await world.create(await world.workspace())
    await drain(world, agent)
    await world.nothing(agent)
    await resume(world, agent)
    await world.claim(agent)


async def test_the_reported_limit_holds_for_grants(world: World) -> None:
    agent = await world.agent()
    for _ in range(2):
        await world.create(await world.workspace())
    await commands(world, agent, plan_task_limit=1)
    await world.claim(agent)
    await world.nothing(agent)
    await commands(world, agent, plan_task_limit=2, plan_tasks_running=1)
    await world.claim(agent)


async def test_pings_and_drains_at_once_lose_nothing(world: World) -> None:
    agent = await world.agent()
    await asyncio.gather(
        drain(world, agent), *(ping(world, agent, cpu_usage=0.5) for _ in range(5))
    )
    (only,) = await seen(world)
    assert only.agent.drain_requested
    assert only.agent.cpu_usage == 0.5


# --- looking and removing ----------------------------------------------------------


async def test_one_agent_is_found_by_its_id(world: World) -> None:
    agent = await world.agent()
    found = await actions.get_agent(world.agents, agent_id=agent.agent_id)
    assert (found.agent.id, found.pool_name) == (agent.agent_id, "idc1")
    nobody = AgentId("agent-none")
    with pytest.raises(NotFoundError, match="agent-none"):
        await actions.get_agent(world.agents, agent_id=nobody)
    with pytest.raises(NotFoundError, match="agent-none"):
        await actions.drain(world.agents, agent_id=nobody, actor="ann", reason="")
    with pytest.raises(NotFoundError, match="agent-none"):
        await actions.remove_agent(world.agents, agent_id=nobody)


async def test_only_an_agent_that_is_away_and_holds_nothing_is_removed(
    world: World,
) -> None:
    agent = await world.agent()
    with pytest.raises(ConflictError, match="is alive"):
        await actions.remove_agent(world.agents, agent_id=agent.agent_id)
    await world.create(await world.workspace())
    phase = await world.claim(agent)
    world.clock.turn(seconds=36)
    with pytest.raises(ConflictError, match=phase.task_id):
        await actions.remove_agent(world.agents, agent_id=agent.agent_id)
    await phase.run_plan()
    await actions.remove_agent(world.agents, agent_id=agent.agent_id)
    assert await seen(world) == []
    with pytest.raises(NotFoundError, match="register again"):
        await ping(world, agent)
