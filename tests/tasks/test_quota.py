"""How many tasks there may be: exactly so many, whoever asks and however many at once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import RateLimitedError
from sluice.base.ids import OrganizationId
from sluice.tasks import actions
from sluice.tasks.quota import (
    Quota,
    RunningRoom,
    Unfinished,
    check_new,
    running_reason,
)
from sluice.wire.shapes.tasks import TaskType
from tests.tasks.runs import begin
from tests.tasks.world import World, claimant


def limited(world: World, **most: int) -> None:
    world.tasks = replace(world.tasks, quota=Quota(**most))


@pytest.mark.parametrize(
    ("found", "setting"),
    [
        (Unfinished(5, 1), "tasks_unfinished_per_organization"),
        (Unfinished(9, 1), "tasks_unfinished_per_organization"),
        (Unfinished(3, 2), "tasks_unfinished_per_workspace"),
    ],
)
def test_one_too_many_is_refused_with_the_numbers(
    found: Unfinished, setting: str
) -> None:
    with pytest.raises(RateLimitedError) as refused:
        check_new(Quota(organization=5, workspace=2), found)
    assert refused.value.extra["setting"] == setting
    assert str(refused.value.extra["unfinished"]) in refused.value.detail
    assert f"SLUICE_{setting.upper()}" in refused.value.detail


def test_below_the_quota_and_without_one_nothing_is_refused() -> None:
    check_new(Quota(organization=5, workspace=2), Unfinished(4, 1))
    check_new(Quota(), Unfinished(10**6, 10**6))


def test_room_for_running_tasks() -> None:
    one, other = OrganizationId("one"), OrganizationId("other")
    room = RunningRoom(2, {one: 1})
    assert (room.left(one), room.left(other)) == (1, 2)
    room.take(one)
    assert set(room.full([one, other])) == {one}
    assert RunningRoom(0, {one: 99}).left(one) is None
    assert running_reason(20, 20, "acme") == "20 of 20 tasks of acme are running"


async def test_a_workspace_has_so_many_and_another_has_its_own(world: World) -> None:
    limited(world, workspace=2, organization=3)
    first, second = await world.workspace(), await world.workspace()
    tasks = [await world.create(first) for _ in range(2)]
    with pytest.raises(RateLimitedError, match="workspace has 2 unfinished"):
        await world.create(first)
    await world.create(second)
    with pytest.raises(RateLimitedError, match="organization has 3 unfinished"):
        await world.create(second)
    await actions.cancel(world.tasks, task_id=tasks[0].id, actor="ann", reason="")
    await world.create(first)


async def test_scripts_and_runs_count_and_are_refused(world: World) -> None:
    limited(world, organization=2)
    await world.script()
    begun = await begin(world, task_id="first-run")
    with pytest.raises(RateLimitedError):
        await world.script()
    with pytest.raises(RateLimitedError):
        await begin(world, task_id="second-run")
    # the same run again makes no new task
    assert (await begin(world, task_id="first-run")).lease_id == begun.lease_id


async def test_a_refused_task_leaves_nothing(world: World) -> None:
    limited(world, organization=1)
    await world.script()
    with pytest.raises(RateLimitedError):
        await world.script()
    assert len(world.logs.rows) == 1


async def test_exactly_so_many_also_when_many_ask_at_once(world: World) -> None:
    limited(world, organization=7)
    workspace = await world.workspace()

    async def make(number: int) -> str:
        try:
            if number % 2:
                await world.script()
            else:
                await world.create(workspace, TaskType.PLAN)
        except RateLimitedError:
            return "refused"
        return "made"

    outcomes = await asyncio.gather(*(make(number) for number in range(20)))
    assert outcomes.count("made") == 7
    assert outcomes.count("refused") == 13


async def agents(world: World, number: int) -> list[AgentPrincipal]:
    return [await world.agent(f"agent-{count}") for count in range(number)]


async def claimed(world: World, found: list[AgentPrincipal]) -> int:
    orders = await actions.claim_phases(
        world.tasks, claimants=[claimant(agent) for agent in found]
    )
    return len(orders)


async def test_further_tasks_stay_in_the_queue_with_the_reason(world: World) -> None:
    limited(world, running=2)
    workspace = await world.workspace()
    found = await agents(world, 4)
    tasks = [await world.create(workspace, TaskType.PLAN) for _ in range(4)]
    assert await claimed(world, found) == 2
    assert await claimed(world, found) == 0
    look = [claimant(agent) for agent in found]
    assert await actions.find_takers(world.tasks, claimants=look) == []
    assert "2 of 2 tasks of" in await world.reason(tasks[3].id)
    assert (await world.reason(tasks[3].id)).endswith("are running")


async def test_the_end_of_one_makes_room_for_the_next(world: World) -> None:
    limited(world, running=1)
    [agent] = await agents(world, 1)
    await world.script()
    second = await world.script()
    phase = await world.claim(agent)
    await world.nothing(agent)
    assert "1 of 1 tasks of" in await world.reason(second.id)
    await phase.run_script()
    assert (await world.claim(agent)).task_id == second.id


async def test_claims_at_once_do_not_run_more_than_may(world: World) -> None:
    limited(world, running=3)
    found = await agents(world, 8)
    for _ in range(8):
        await world.script()

    async def one(agent: AgentPrincipal) -> int:
        return await claimed(world, [agent])

    numbers: list[Any] = await asyncio.gather(*(one(agent) for agent in found))
    assert sum(numbers) == 3
