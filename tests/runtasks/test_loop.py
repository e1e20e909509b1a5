"""The loop that asks: bounded, woken, alone among several servers, and back after a crash."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.auth.keyring import encode_key, new_master_key
from sluice.base.transactions import Transactions, Tx
from sluice.db.migrate import upgrade
from sluice.events.topics import GATES
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.loop import ask_run_tasks
from sluice.server.serving import serving
from sluice.testing.memory import MemoryTransactions
from sluice.wire.run_task import ResultStatus
from tests.agents.house import House, open_house
from tests.conftest import Backing
from tests.runtasks.rig import Rig, Sent, make_rig
from tests.runtasks.services import (
    Call,
    asked,
    call_back,
    change_result,
    new_task,
    open_settings,
    results,
    run_task,
    service,
    task_until,
    until,
)


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return await make_rig(Backing("memory", MemoryTransactions()), tmp_path)


@asynccontextmanager
async def asking(deps: AskingDeps) -> AsyncIterator[None]:
    """The loop while the block runs; it ends by a cancel, and by nothing else."""
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(ask_run_tasks(deps))
        try:
            yield
        finally:
            assert not loop.done()
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop


@dataclass
class Slow:
    """Holds every call until it is let go, and remembers how many there were at once."""

    now: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self, sent: Sent) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.let_go.wait()
        self.now -= 1


async def test_calls_at_once_are_bounded(rig: Rig) -> None:
    slow = Slow()
    rig.sender.meanwhile = slow
    await rig.at_gate(*(f"r{number}" for number in range(7)))
    async with asking(replace(rig.deps, calls_at_once=3)):

        async def full() -> bool:
            return slow.now == 3

        await until("three calls", full)
        rig.deps.tasks.hub.publish(GATES)
        await asyncio.sleep(0.1)
        assert (slow.now, len(rig.sender.sent)) == (3, 3)
        slow.let_go.set()

        async def all_called() -> bool:
            return len(rig.sender.sent) == 7

        await until("all calls", all_called)
    assert slow.most == 3


async def test_a_cancel_leaves_a_call_to_its_lease(rig: Rig) -> None:
    slow = Slow()
    rig.sender.meanwhile = slow
    task = await rig.at_gate()
    async with asking(rig.deps):

        async def called() -> bool:
            return slow.now == 1

        await until("the call", called)
    assert slow.now == 1  # it was cut, not ended
    left = await rig.only(task)
    assert left.status is ResultStatus.RUNNING
    assert left.call_lease_until is not None
    rig.clock.turn(seconds=45)
    slow.let_go.set()
    assert await rig.call() == 1
    first, again = rig.sender.sent
    assert (first.body, first.token) == (again.body, again.token)


class Away:
    """A database that is away while ``away``."""

    def __init__(self, inner: Transactions) -> None:
        self.inner = inner
        self.away = True
        self.asked = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        self._check()
        async with self.inner.read() as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        self._check()
        async with self.inner.write() as tx:
            yield tx

    def _check(self) -> None:
        self.asked += 1
        if self.away:
            raise OSError("the database is away")


async def test_a_database_that_is_away_ends_nothing(rig: Rig) -> None:
    task = await rig.at_gate()
    database = Away(rig.world.transactions)
    tasks = replace(rig.deps.tasks, transactions=database)
    async with asking(replace(rig.deps, tasks=tasks)):

        async def tried() -> bool:
            return database.asked > 4

        await until("some looks", tried)
        assert rig.sender.sent == []
        database.away = False

        async def taken() -> bool:
            return (await rig.only(task)).http_status == 200

        await until("the call to be taken", taken)
    assert len(rig.sender.sent) == 1


async def test_one_call_that_breaks_ends_no_other(rig: Rig) -> None:
    async def breaks(sent: Sent) -> None:
        if "://bad." in sent.url:
            raise ValueError("a fault of ours")

    rig.sender.meanwhile = breaks
    task = await rig.at_gate("bad", "good")
    async with asking(rig.deps):

        async def good() -> bool:
            return {row.name: row.http_status for row in await rig.results(task)}[
                "good"
            ] == 200

        await until("the good one", good)


async def test_two_servers_call_each_service_once(
    empty_postgres_url: str, tmp_path: Path
) -> None:
    await upgrade(empty_postgres_url)
    given: dict[str, Any] = {
        "database_url": empty_postgres_url,
        "encryption_key": encode_key(new_master_key()),
    }
    codes = []
    house: House | None = None

    async def at_once(call: Call) -> int:
        assert house is not None
        codes.append((await call_back(house, call)).status_code)
        return 200

    async with (
        service(at_once) as checks,
        open_house(open_settings(tmp_path / "one", **given)) as first,
        serving(open_settings(tmp_path / "two", **given)) as second,
    ):
        house = first
        workspace = await house.workspace("many")
        for name in ("one", "two", "three"):
            await run_task(
                house,
                name,
                checks.url,
                is_global=True,
                global_level="mandatory",
                global_stages=["pre_plan"],
            )
        tasks = [await new_task(house, workspace) for _ in range(8)]
        for task_id in tasks:

            async def passed(task_id: str = task_id) -> bool:
                rows = await results(first, workspace, task_id)
                return all(row["status"] == "passed" for row in rows)

            await until(f"all verdicts about {task_id}", passed)
        assert second.url != house.serving.url
    calls = Counter(call.payload["task_result_id"] for call in checks.calls)
    assert len(calls) == 24
    assert set(calls.values()) == {1}
    assert set(codes) == {200}


async def test_a_server_that_starts_again_calls_again_the_same(
    tmp_path: Path,
) -> None:
    hangs = asyncio.Event()

    async def first_hangs(call: Call) -> int:
        if len(checks.calls) == 1:
            await hangs.wait()
        return 200

    settings = open_settings(tmp_path / "server")
    async with service(first_hangs) as checks:
        async with open_house(settings) as house:
            workspace = await asked(house, checks.url)
            task_id = await new_task(house, workspace)
            first = await checks.call(0)
            [before] = await results(house, workspace, task_id)
        async with serving(settings) as again:
            house.serving = again
            house.http = httpx2.AsyncClient(base_url=again.url, timeout=40)
            house.admin.http = house.http
            [after] = await results(house, workspace, task_id)
            assert after["status"] == "running"
            assert after["timeout_at"] == before["timeout_at"]
            assert len(checks.calls) == 1
            past = datetime.now(UTC) - timedelta(seconds=1)
            await change_result(house, after["result_id"], call_lease_until=past)
            second = await checks.call(1)
            hangs.set()
            assert second.token == first.token
            assert second.payload["task_result_id"] == after["result_id"]
            assert (await call_back(house, second)).status_code == 200
            await task_until(house, task_id, "pending")
            await house.http.aclose()
    assert len(checks.calls) == 2
