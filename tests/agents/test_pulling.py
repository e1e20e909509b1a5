"""Pulls that wait, and the loop that gives work to all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sluice.agents import dispatcher, pulling
from sluice.agents.dispatcher import Dispatcher
from sluice.agents.model import Pulled
from sluice.auth.model import AgentPrincipal
from sluice.base.ids import AgentId
from sluice.base.transactions import Tx
from sluice.events.topics import QUEUE, STOPPING, agent_topic
from sluice.tasks.actions import find_takers
from sluice.tasks.matching import Claimant
from sluice.tasks.model import Task, TaskState
from sluice.wire.agent import PullRequest, Slots
from sluice.wire.shapes.tasks import TaskType
from sluice.wire.shapes.workspaces import VariableInput
from sluice.workspaces.variable_actions import add_variable
from tests.tasks.world import BOTH, World

GENEROUS = 30.0
"""So long a slow machine may take; nothing here waits for it to pass."""


async def still_there() -> bool:
    return False


async def pull(
    world: World,
    agent: AgentPrincipal,
    wait: float = 0,
    slots: Slots = BOTH,
    gone: Callable[[], Awaitable[bool]] = still_there,
) -> Pulled:
    return await pulling.pull(
        world.agents,
        caller=agent,
        wanted=PullRequest(slots=slots, wait_seconds=wait),
        gone=gone,
    )


async def taken(world: World, agent: AgentPrincipal, **more: Any) -> str | None:
    order = (await pull(world, agent, **more)).order
    return None if order is None else order.task_id


@asynccontextmanager
async def dispatching(world: World) -> AsyncIterator[asyncio.TaskGroup]:
    """The loop, and a group for those who wait; ends with all of them."""
    async with asyncio.timeout(GENEROUS * 2), asyncio.TaskGroup() as group:
        loop = group.create_task(world.agents.dispatcher.run())
        async with asyncio.TaskGroup() as waiting:
            yield waiting
        loop.cancel()


async def until_waiting(world: World, number: int) -> None:
    """Pulls wait, and the loop has looked for them once."""
    while len(world.agents.dispatcher.waiting) < number:
        await asyncio.sleep(0.01)
    while not all(one.looked_at for one in world.agents.dispatcher.waiting):
        await asyncio.sleep(0.01)


async def test_what_waits_is_given_at_once(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    async with dispatching(world):
        assert await taken(world, agent) is None
        task = await world.create(workspace)
        assert await taken(world, agent, slots=Slots()) is None
        assert await taken(world, agent) == task.id
        assert await taken(world, agent) is None


async def test_a_waiting_pull_gets_a_new_task_by_its_wake_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 1000.0)
    agent, workspace = await world.agent(), await world.workspace()
    async with dispatching(world) as group:
        waiting = group.create_task(taken(world, agent, wait=GENEROUS))
        await until_waiting(world, 1)
        task = await world.create(workspace)
    assert waiting.result() == task.id


async def test_a_lost_wake_up_delays_and_never_stalls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 0.05)
    agent, workspace = await world.agent(), await world.workspace()
    monkeypatch.setattr(world.tasks.hub, "publish", lambda topic: None)
    async with dispatching(world) as group:
        waiting = group.create_task(taken(world, agent, wait=GENEROUS))
        await until_waiting(world, 1)
        task = await world.create(workspace)
    assert waiting.result() == task.id


async def test_work_is_not_given_to_a_closed_connection(world: World) -> None:
    agent, other = await world.agent(), await world.agent("other")
    closed = False

    async def gone() -> bool:
        return closed

    async with dispatching(world) as group:
        first = group.create_task(taken(world, agent, wait=GENEROUS, gone=gone))
        await until_waiting(world, 1)
        second = group.create_task(taken(world, other, wait=GENEROUS))
        await until_waiting(world, 2)
        closed = True
        task = await world.create(await world.workspace())
    assert (first.result(), second.result()) == (None, task.id)


async def test_a_pull_whose_time_is_over_leaves(world: World) -> None:
    agent = await world.agent()
    async with dispatching(world):
        assert await pull(world, agent, wait=0.05) == Pulled()
    assert not world.agents.dispatcher.waiting


async def test_many_waiting_pulls_share_the_work_without_repeating_it(
    world: World,
) -> None:
    agents = [await world.agent(f"a{number}") for number in range(6)]
    workspaces = [await world.workspace() for _ in range(6)]
    async with dispatching(world) as group:
        pulls = [
            group.create_task(taken(world, agent, wait=GENEROUS)) for agent in agents
        ]
        await until_waiting(world, 6)
        tasks = [await world.create(workspace) for workspace in workspaces]
    assert sorted(str(one.result()) for one in pulls) == sorted(t.id for t in tasks)


async def test_an_agent_that_pulls_twice_at_a_time_keeps_its_limits(
    world: World,
) -> None:
    agent, other = await world.agent(), await world.agent("other")
    workspace = await world.workspace()
    tasks = [await world.create(workspace, TaskType.PLAN) for _ in range(6)]
    async with dispatching(world) as group:
        pulls = [
            group.create_task(taken(world, agent, wait=GENEROUS)) for _ in range(6)
        ]
        while sum(one.done() for one in pulls) < 3:
            await asyncio.sleep(0.01)
        assert await taken(world, other, wait=GENEROUS) == tasks[3].id
        world.tasks.hub.publish(STOPPING)
    given = [task_id for one in pulls if (task_id := one.result()) is not None]
    assert sorted(given) == sorted(task.id for task in tasks[:3])


async def test_two_servers_share_the_work(world: World) -> None:
    """Two loops over one database; wake-ups reach both, as over Redis."""
    second = Dispatcher(world.tasks, world.tasks.hub)
    other = replace(world, agents=replace(world.agents, dispatcher=second))
    agents = [await world.agent(f"a{number}") for number in range(8)]
    workspace = await world.workspace()
    tasks = [await world.create(workspace, TaskType.PLAN) for _ in range(24)]
    async with dispatching(world) as here, dispatching(other) as there:
        pulls = [
            group.create_task(taken(where, agent, wait=GENEROUS))
            for agent in agents
            for group, where in ((here, world), (there, other), (here, world))
        ]
    given = [one.result() for one in pulls]
    assert sorted(str(one) for one in given) == sorted(task.id for task in tasks)


# --- what else ends a pull -----------------------------------------------------------


async def test_an_order_for_the_agent_ends_its_pull_alone(world: World) -> None:
    agent, other = await world.agent(), await world.agent("other")
    async with dispatching(world) as group:
        mine = group.create_task(pull(world, agent, wait=GENEROUS))
        others = group.create_task(taken(world, other, wait=GENEROUS))
        await until_waiting(world, 2)
        world.tasks.hub.publish(agent_topic(agent.agent_id))
        assert await mine == Pulled(ping_now=True)
        assert not others.done()
        task = await world.create(await world.workspace())
    assert others.result() == task.id


async def test_an_agent_that_missed_that_it_is_to_drain_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "MISSED_SECONDS", 0.05)
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace)
    store = world.agents.store
    async with world.transactions.write() as tx:
        stored = await store.get_agent(tx, agent.agent_id)
        assert stored is not None
        await store.put_agent(tx, replace(stored, drain_requested=True))
    async with dispatching(world):
        assert await pull(world, agent, wait=GENEROUS) == Pulled(ping_now=True)


async def test_a_server_that_stops_ends_all_pulls(world: World) -> None:
    agents = [await world.agent(name) for name in "ab"]
    async with dispatching(world) as group:
        pulls = [group.create_task(pull(world, one, wait=GENEROUS)) for one in agents]
        await until_waiting(world, 2)
        world.tasks.hub.publish(STOPPING)
    assert [one.result() for one in pulls] == [Pulled(), Pulled()]


# --- faults --------------------------------------------------------------------------


async def test_an_order_that_cannot_be_made_fails_its_task_only(world: World) -> None:
    agents = [await world.agent(name) for name in "ab"]
    bad, good = await world.workspace(), await world.workspace()
    added = await add_variable(
        world.tasks.workspaces,
        workspace_id=bad.id,
        given=VariableInput(key="token", value="x", sensitive=True),
    )
    async with world.transactions.write() as tx:
        broken = replace(added, sealed=b"\x00broken")
        await world.tasks.workspaces.variables.save(tx, broken)
    broken_task, task = await world.create(bad), await world.create(good)
    async with dispatching(world) as group:
        pulls = [
            group.create_task(taken(world, agent, wait=GENEROUS)) for agent in agents
        ]
        while (await world.task(broken_task.id)).state is not TaskState.FAILED:
            await asyncio.sleep(0.01)
        later = await world.create(good, TaskType.PLAN)
    assert sorted(str(one.result()) for one in pulls) == sorted([task.id, later.id])
    assert "could not make up the phase" in world.logs.text(broken_task.id)


async def test_a_claim_that_fails_for_one_is_made_for_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [await world.agent(name) for name in "abc"]
    workspace = await world.workspace()
    tasks = [await world.create(workspace, TaskType.PLAN) for _ in range(3)]
    holdings = world.tasks.store.holdings

    async def failing(tx: Tx, agent_ids: Sequence[AgentId]) -> Any:
        if agents[1].agent_id in agent_ids:
            raise OSError("the disk is full")
        return await holdings(tx, agent_ids)

    monkeypatch.setattr(world.tasks.store, "holdings", failing)

    async def failed(agent: AgentPrincipal) -> str:
        with pytest.raises(OSError, match="the disk is full"):
            await pull(world, agent, wait=GENEROUS)
        return "failed"

    async with dispatching(world) as group:
        first = group.create_task(taken(world, agents[0], wait=GENEROUS))
        second = group.create_task(failed(agents[1]))
        third = group.create_task(taken(world, agents[2], wait=GENEROUS))
    assert second.result() == "failed"
    assert [first.result(), third.result()] == [tasks[0].id, tasks[1].id]


async def test_the_loop_outlives_a_database_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 0.02)
    agent, workspace = await world.agent(), await world.workspace()
    task: Task = await world.create(workspace)
    overview = world.tasks.store.overview
    looks = 0

    async def away_at_first(tx: Tx, *of: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise OSError("connection refused")
        return await overview(tx, *of)

    monkeypatch.setattr(world.tasks.store, "overview", away_at_first)
    async with dispatching(world):
        assert await taken(world, agent, wait=GENEROUS) == task.id
    assert looks >= 3


async def test_a_wake_up_costs_one_look_however_many_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 1000.0)
    agents = [await world.agent(f"a{number}") for number in range(20)]
    looks: list[int] = []

    async def counted(deps: Any, *, claimants: Sequence[Claimant]) -> list[Claimant]:
        looks.append(len(claimants))
        return await find_takers(deps, claimants=claimants)

    async with dispatching(world) as group:
        pulls = [
            group.create_task(taken(world, agent, wait=GENEROUS)) for agent in agents
        ]
        await until_waiting(world, 20)
        monkeypatch.setattr(dispatcher, "find_takers", counted)
        for _ in range(5):
            world.tasks.hub.publish(QUEUE)
        while not looks:
            await asyncio.sleep(0.01)
        world.tasks.hub.publish(STOPPING)
    assert looks == [20]
    assert all(one.result() is None for one in pulls)
