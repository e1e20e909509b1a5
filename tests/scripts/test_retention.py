"""Old logs of scripts go, once, and nothing else does."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from sluice.base.errors import GoneError, UnavailableError
from sluice.base.ids import AgentId, LeaseId, TaskId
from sluice.logs.history import History
from sluice.scripts.loop import look
from sluice.scripts.retention import Removed, RetentionMetrics, remove_old_logs
from sluice.tasks.model import LateOutput
from tests.scripts.conftest import Scripts

DAY = timedelta(days=1)


def history_of(scripts: Scripts) -> History:
    backing = scripts.backing
    return History(backing.transactions, backing.store, backing.lane, scripts.objects)


async def readable(scripts: Scripts, task_id: TaskId) -> bool:
    try:
        await history_of(scripts).view(task_id)
    except GoneError:
        return False
    return True


def counted(scripts: Scripts) -> tuple[float, float]:
    metrics = scripts.retention.metrics
    [logs], [size] = metrics.logs.collect(), metrics.bytes.collect()
    return logs.samples[0].value, size.samples[0].value


async def test_what_is_old_goes_and_is_counted(scripts: Scripts) -> None:
    now = scripts.clock.now()
    old = await scripts.ended(now - 8 * DAY, size=1000)
    older = await scripts.ended(now - 30 * DAY, size=234)
    young = await scripts.ended(now - 6 * DAY)
    assert await remove_old_logs(scripts.retention) == Removed(2, 1234)
    assert set(scripts.objects.blobs) == {f"logs/{young.id}.slz"}
    assert counted(scripts) == (2, 1234)
    with pytest.raises(GoneError, match=r"deleted on 2026-11-21.*log_retention_days"):
        await history_of(scripts).view(old.id)
    assert not await readable(scripts, older.id)
    assert await readable(scripts, young.id)
    assert (await scripts.world.task(old.id)).id == old.id, "the task stays"
    assert await remove_old_logs(scripts.retention) == Removed()
    assert counted(scripts) == (2, 1234)


async def test_more_than_one_look_holds(scripts: Scripts) -> None:
    at = scripts.clock.now() - 9 * DAY
    for _ in range(3):
        await scripts.ended(at, size=10)
    import sluice.scripts.retention as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOGS_A_LOOK", 1)
        assert await remove_old_logs(scripts.retention) == Removed(3, 30)


async def test_logs_that_are_kept_for_good(scripts: Scripts) -> None:
    task = await scripts.ended(scripts.clock.now() - 4000 * DAY)
    for_good = replace(scripts.retention, days=None)
    assert await remove_old_logs(for_good) == Removed()
    assert await readable(scripts, task.id)


async def test_terraforms_output_is_kept(scripts: Scripts) -> None:
    workspace = await scripts.world.workspace()
    plan = await scripts.world.create(workspace)
    await scripts.log_of(
        plan.id, scripts.clock.now() - 900 * DAY, size=9, archived=True
    )
    assert await remove_old_logs(scripts.retention) == Removed()
    assert await readable(scripts, plan.id)


async def test_late_output_goes_with_it(scripts: Scripts) -> None:
    task = await scripts.ended(scripts.clock.now() - 8 * DAY, size=100)
    late = LateOutput(
        lease_id=LeaseId("lease-9"),
        task_id=task.id,
        agent_id=AgentId("agent-1"),
        committed=11,
        size=11,
        lines=1,
        received_at=scripts.clock.now(),
    )
    store = scripts.world.tasks.late
    async with scripts.world.transactions.write() as tx:
        await store.keep(tx, late, 0, b"late words\n")
    assert await remove_old_logs(scripts.retention) == Removed(1, 111)
    async with scripts.world.transactions.read() as tx:
        assert await store.of_task(tx, task.id) == []


async def test_an_object_that_could_not_be_deleted_goes_later(scripts: Scripts) -> None:
    task = await scripts.ended(scripts.clock.now() - 8 * DAY, size=50)
    scripts.objects.away = UnavailableError("the bucket is away")
    assert await remove_old_logs(scripts.retention) == Removed()
    assert f"logs/{task.id}.slz" in scripts.objects.blobs
    assert not await readable(scripts, task.id), "it is marked before it goes"
    scripts.objects.away = None
    assert await remove_old_logs(scripts.retention) == Removed(1, 50)
    assert scripts.objects.blobs == {}
    assert not await readable(scripts, task.id)
    assert counted(scripts) == (1, 50)


async def test_two_servers_count_each_log_once(scripts: Scripts) -> None:
    for _ in range(5):
        await scripts.ended(scripts.clock.now() - 8 * DAY, size=10)
    other = replace(scripts.retention, metrics=RetentionMetrics(CollectorRegistry()))
    found = await asyncio.gather(
        remove_old_logs(scripts.retention), remove_old_logs(other)
    )
    assert sum(found, Removed()) == Removed(5, 50)
    assert scripts.objects.blobs == {}


async def test_the_loop_outlives_a_fault(scripts: Scripts) -> None:
    await scripts.ended(scripts.clock.now() - 8 * DAY)
    scripts.objects.away = RuntimeError("something nobody thought of")
    await look(scripts.retention)
    scripts.objects.away = None
    await look(scripts.retention)
    assert scripts.objects.blobs == {}
