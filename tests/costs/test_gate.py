"""The port suites of costs and the gate `cost_estimation`: answered exactly once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from sluice.base.ids import OrganizationId, TaskId
from sluice.costs import answering
from sluice.costs.model import CostEstimate, EstimateStatus, StoredPrices
from sluice.costs.price_file import FileFormat
from sluice.tasks import actions
from sluice.tasks.model import Gate, Task, TaskState
from sluice.wire.agent import PhaseOutcome
from tests.costs.conftest import Costs
from tests.costs.test_estimating import AWS_PLAN, PRICES, prices
from tests.tasks.world import ORG

CHEAP = '[[price]]\ntype = "terraform_data"\nmonthly = 3\n'
DEAR = (
    'level = "mandatory"\nmax_monthly_total = 1\n'
    '[[price]]\ntype = "terraform_data"\nwhere = { "input.user" = "y" }\nmonthly = 99\n'
    + CHEAP
)


async def at_gate(costs: Costs) -> Task:
    """A task that has planned and stands at the gate."""
    agent = await costs.world.agent()
    task = await costs.world.planned(agent, await costs.world.workspace())
    assert task.state is TaskState.AT_GATE
    assert task.gate is Gate.COST_ESTIMATION
    return task


def log_of(costs: Costs, task: Task) -> str:
    return costs.world.logs.rows[task.id].data.decode()


# --- stores ------------------------------------------------------------------------


async def test_a_price_file_is_kept_replaced_and_forgotten(costs: Costs) -> None:
    store, now = costs.deps.prices, costs.world.clock.now()
    async with costs.world.transactions.write() as tx:
        assert await store.get(tx, ORG) is None
        toml = StoredPrices(ORG, PRICES, FileFormat.TOML, "ann", now)
        other = StoredPrices(ORG, '{"ü": 1}', FileFormat.JSON, "bob", now)
        for stored in (toml, other):
            await store.put(tx, stored)
            await store.put(tx, stored)
            assert await store.get(tx, ORG) == stored
            kept = await store.content(tx, stored.digest)
            assert kept == (stored.content, stored.form)
        assert await store.get(tx, OrganizationId("none")) is None
        assert await store.delete(tx, ORG)
        assert not await store.delete(tx, ORG)
        assert await store.get(tx, ORG) is None
        assert (await store.content(tx, other.digest))[1] is FileFormat.JSON


async def test_an_estimate_comes_back_as_stored(costs: Costs) -> None:
    await costs.put(PRICES)
    task = await costs.world.create(await costs.world.workspace())
    stored = await costs.stored(task.id)
    assert stored is not None
    assert stored == CostEstimate(task.id, stored.digest)
    now = costs.world.clock.now()
    full = replace(
        stored,
        status=EstimateStatus.FAILED,
        estimate=answering._of_plan(prices(), AWS_PLAN),
        error="ü",
        opened_at=now,
        due_at=now,
        attempts=3,
        closed_at=now + timedelta(seconds=1),
    )
    async with costs.world.transactions.write() as tx:
        await costs.deps.estimates.save(tx, full)
        assert await costs.deps.estimates.hold(tx, task.id) == full
        assert await costs.deps.estimates.get(tx, TaskId("none")) is None
        assert await costs.deps.estimates.pending(tx, [task.id]) == set()


async def test_an_estimate_is_claimed_by_one_until_its_time_is_over(
    costs: Costs,
) -> None:
    await costs.put(CHEAP)
    store, now = costs.deps.estimates, costs.world.clock.now()
    later = now + timedelta(seconds=60)
    tasks = [await costs.world.create(await costs.world.workspace()) for _ in range(3)]
    async with costs.world.transactions.write() as tx:
        assert await store.claim(tx, now=now, until=later) is None
        for seconds, task in enumerate(tasks[:2]):
            found = await store.get(tx, task.id)
            assert found is not None
            due = now - timedelta(seconds=seconds)
            await store.save(tx, replace(found, opened_at=due, due_at=due))
        assert await store.pending(tx, [task.id for task in tasks]) == {
            task.id for task in tasks
        }
    taken = []
    for at in (now, now, now, later):
        async with costs.world.transactions.write() as tx:
            claimed = await store.claim(tx, now=at, until=later)
            taken.append(claimed and (claimed.task_id, claimed.attempts))
    assert taken[:3] == [(tasks[1].id, 1), (tasks[0].id, 1), None]
    assert taken[3] in [(tasks[0].id, 2), (tasks[1].id, 2)]


# --- the gate ----------------------------------------------------------------------


async def test_without_a_price_file_no_task_stops(costs: Costs) -> None:
    agent = await costs.world.agent()
    task = await costs.world.planned(agent, await costs.world.workspace())
    assert task.state is TaskState.APPLY_PENDING
    assert await costs.stored(task.id) is None
    assert not await costs.estimate()


async def test_a_task_goes_on_with_its_estimate(costs: Costs) -> None:
    await costs.put(CHEAP)
    task = await at_gate(costs)
    assert await costs.world.reason(task.id) == "waits for the cost estimate"
    assert await costs.estimate()
    assert (await costs.world.task(task.id)).state is TaskState.APPLY_PENDING
    stored = await costs.stored(task.id)
    assert stored is not None
    assert stored.estimate is not None
    assert stored.status is EstimateStatus.PASSED
    assert stored.estimate.proposed % 3 == 0
    assert stored.estimate.proposed > Decimal(0)
    assert "cost estimate: " in log_of(costs, task)


async def test_a_broken_limit_stops_the_task(costs: Costs) -> None:
    await costs.put(DEAR)
    task = await at_gate(costs)
    await costs.estimate()
    done = await costs.world.task(task.id)
    stored = await costs.stored(task.id)
    assert done.state is TaskState.FAILED
    assert "max_monthly_total" in done.error
    assert stored is not None
    assert stored.status is EstimateStatus.FAILED


async def test_a_task_is_estimated_by_the_file_that_held_when_it_was_made(
    costs: Costs,
) -> None:
    await costs.put(CHEAP)
    agent = await costs.world.agent()
    task = await costs.world.create(await costs.world.workspace())
    await costs.put(DEAR)
    await (await costs.world.claim(agent)).run_plan()
    await costs.estimate()
    assert (await costs.world.task(task.id)).state is TaskState.APPLY_PENDING


async def test_what_nobody_waits_for_is_closed(costs: Costs) -> None:
    await costs.put(CHEAP)
    task = await at_gate(costs)
    await actions.cancel(costs.world.tasks, task_id=task.id, actor="ann", reason="")
    stored = await costs.stored(task.id)
    assert stored is not None
    assert stored.status is EstimateStatus.CANCELED
    assert not await costs.estimate()
    other = await costs.world.create(await costs.world.workspace())
    phase = await costs.world.claim(await costs.world.agent())
    await phase.started()
    await phase.finish(PhaseOutcome.FAILED, error="no")
    stored = await costs.stored(other.id)
    assert stored is not None
    assert stored.status is EstimateStatus.SKIPPED


async def test_without_a_plan_only_a_binding_limit_stops(costs: Costs) -> None:
    for content, state in ((CHEAP, TaskState.APPLY_PENDING), (DEAR, TaskState.FAILED)):
        await costs.put(content)
        task = await at_gate(costs)
        async with costs.world.transactions.write() as tx:
            held = await costs.world.tasks.store.lock(tx, task.id)
            assert held is not None
            await costs.world.tasks.store.save(tx, replace(held, plan_json_blob=None))
        await costs.estimate()
        assert (await costs.world.task(task.id)).state is state
        stored = await costs.stored(task.id)
        assert stored is not None
        assert stored.status is EstimateStatus.ERROR
        assert "no plan JSON" in stored.error


async def test_what_a_killed_server_left_is_done_again_and_answered_once(
    costs: Costs,
) -> None:
    await costs.put(CHEAP)
    task = await at_gate(costs)
    world, now = costs.world, costs.world.clock.now()
    async with world.transactions.write() as tx:
        dead = await costs.deps.estimates.claim(tx, now=now, until=now)
    assert dead is not None
    world.clock.turn(seconds=1)
    assert sorted(await asyncio.gather(costs.estimate(), costs.estimate())) == [
        False,
        True,
    ]
    log = log_of(costs, task)
    assert log.count("cost estimate: ") == 1
    await answering._answer(costs.deps, dead, prices(DEAR))
    assert log_of(costs, task) == log
    assert (await world.task(task.id)).state is TaskState.APPLY_PENDING
