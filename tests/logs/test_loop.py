"""The group commit: order within a log, fairness between logs, and what failures leave behind."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from sluice.base.errors import NotFoundError, UnavailableError
from sluice.base.ids import TaskId, new_task_id
from sluice.logs import loop
from sluice.logs.assembly import LogBacking
from sluice.logs.loop import GroupCommit
from sluice.logs.model import Outcome, RefusedOutputError, Unit
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.log_flow import Verdict
from tests.logs.harness import backing_of
from tests.logs.test_store import AT, opened, unit_of


class Lane:
    """A backing's lane that notes its groups, and can be held up or broken."""

    def __init__(self, backing: LogBacking) -> None:
        self.backing = backing
        self.groups: list[list[TaskId]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.refused: TaskId | None = None

    async def append_many(self, units: Sequence[Unit]) -> list[Outcome]:
        self.groups.append([unit.task_id for unit in units])
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        if self.refused in self.groups[-1]:
            raise RefusedOutputError("no")
        return await self.backing.lane.append_many(units)

    async def tidy(self) -> None:
        """Nothing to tidy."""


@pytest.fixture
def backing() -> LogBacking:
    return backing_of(MemoryTransactions(), MemoryBlobs())


@asynccontextmanager
async def committing(
    lane: Lane, *, waiting_bytes: int = 1 << 30
) -> AsyncIterator[tuple[GroupCommit, list[Unit]]]:
    durable: list[Unit] = []
    commit = GroupCommit(
        lane,  # type: ignore[arg-type]
        on_durable=durable.append,
        waiting_bytes=waiting_bytes,
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(commit.run())
        await asyncio.sleep(0)
        try:
            yield commit, durable
        finally:
            running.cancel()


def train(task_id: TaskId, count: int, size: int = 10) -> list[Unit]:
    """Units of one log that follow each other."""
    units: list[Unit] = []
    for number in range(count):
        offset = number * size
        units.append(unit_of(task_id, b"x" * size, offset=offset))
    return units


async def test_what_gathers_while_one_group_commits_is_the_next(
    backing: LogBacking,
) -> None:
    lane = Lane(backing)
    a, b = await opened(backing), await opened(backing)
    async with committing(lane) as (commit, durable):
        lane.gate.clear()
        answers = [await commit.offer(unit) for unit in train(a, 1)]
        await asyncio.sleep(0.01)
        answers += [await commit.offer(unit) for unit in train(a, 4)[1:] + train(b, 2)]
        await asyncio.sleep(0.01)
        lane.gate.set()
        found = [await answer for answer in answers]
    assert lane.groups == [[a], [a, b]]
    assert {verdict for verdict, _ in found} == {Verdict.APPEND}
    assert [head.committed for _, head in found] == [10, 40, 40, 40, 20, 20]
    assert [unit.end for unit in durable] == [10, 40, 20]


async def test_repeated_and_overtaken_units_get_their_own_verdict(
    backing: LogBacking,
) -> None:
    lane = Lane(backing)
    task_id = await opened(backing)
    first, second, third = train(task_id, 3)
    async with committing(lane) as (commit, _):
        await (await commit.offer(first))
        lane.gate.clear()
        offered = [first, second, third, unit_of(task_id, b"?", epoch=7)]
        answers = [await commit.offer(unit) for unit in offered]
        lane.gate.set()
        verdicts = [(await answer)[0] for answer in answers]
        gap, _ = await (await commit.offer(unit_of(task_id, b"!", offset=99)))
        line, _ = await (await commit.offer(unit_of(task_id, b"!", offset=30, line=5)))
    assert verdicts == [
        Verdict.ALREADY_THERE,
        Verdict.APPEND,
        Verdict.APPEND,
        Verdict.WRONG_EPOCH,
    ]
    assert (gap, line) == (Verdict.REFUSE, Verdict.CORRUPT)


async def test_a_log_at_full_speed_leaves_room_for_others(
    backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SHARE_BYTES", 30)
    monkeypatch.setattr(loop, "GROUP_BYTES", 60)
    lane = Lane(backing)
    hot, calm = await opened(backing), await opened(backing)
    async with committing(lane) as (commit, _):
        lane.gate.clear()
        answers = [await commit.offer(unit) for unit in train(hot, 20)]
        await asyncio.sleep(0.01)
        line = await commit.offer(unit_of(calm, b"one line\n"))
        lane.gate.set()
        await line
        assert calm in lane.groups[1]
        for answer in answers:
            await answer


async def test_senders_wait_when_too_much_waits(backing: LogBacking) -> None:
    lane = Lane(backing)
    task_id = await opened(backing)
    lane.gate.clear()
    async with committing(lane, waiting_bytes=25) as (commit, _):
        units = train(task_id, 4)
        answers = [await commit.offer(unit) for unit in units[:3]]
        async with asyncio.TaskGroup() as group:
            held = group.create_task(_offered(commit, units[3]))
            await asyncio.sleep(0.02)
            assert not held.done()
            lane.gate.set()
        for answer in answers:
            await answer


async def _offered(commit: GroupCommit, unit: Unit) -> None:
    await (await commit.offer(unit))


async def test_a_broken_database_fails_the_senders_and_not_the_loop(
    backing: LogBacking,
) -> None:
    lane = Lane(backing)
    task_id = await opened(backing)
    [unit] = train(task_id, 1)
    async with committing(lane) as (commit, _):
        lane.broken = UnavailableError("gone")
        with pytest.raises(UnavailableError, match="gone"):
            await (await commit.offer(unit))
        lane.broken = RuntimeError("a fault")
        with pytest.raises(RuntimeError, match="a fault"):
            await (await commit.offer(unit))
        lane.broken = None
        verdict, _ = await (await commit.offer(unit))
    assert verdict is Verdict.APPEND


async def test_a_log_nobody_opened(backing: LogBacking) -> None:
    async with committing(Lane(backing)) as (commit, _):
        answer = await commit.offer(unit_of(new_task_id(), b"x"))
        with pytest.raises(NotFoundError):
            await answer


async def test_stopping_fails_what_waits(backing: LogBacking) -> None:
    lane = Lane(backing)
    task_id = await opened(backing)
    async with committing(lane) as (commit, _):
        lane.gate.clear()
        first, second = train(task_id, 2)
        under_way = await commit.offer(first)
        await asyncio.sleep(0.01)
        waiting = await commit.offer(second)
    for answer in (under_way, waiting):
        with pytest.raises(UnavailableError, match="send the output again"):
            await answer
    with pytest.raises(UnavailableError):
        await _offered(commit, first)


async def test_many_logs_in_one_transaction_on_each_store(
    transactions: object, blobs: MemoryBlobs
) -> None:
    real = backing_of(transactions.transactions, blobs)  # type: ignore[attr-defined]
    logs = [await opened(real, at=AT) for _ in range(20)]
    async with committing(Lane(real)) as (commit, durable):
        answers = [
            await commit.offer(unit) for task_id in logs for unit in train(task_id, 5)
        ]
        for answer in answers:
            verdict, head = await answer
            assert (verdict, head.committed) == (Verdict.APPEND, 50)
    assert sum(unit.end - unit.offset for unit in durable) == 20 * 50
    await real.lane.close()


async def test_output_that_the_database_refuses_fails_alone(
    transactions: object, blobs: MemoryBlobs
) -> None:
    real = backing_of(transactions.transactions, blobs)  # type: ignore[attr-defined]
    logs = [await opened(real, at=AT) for _ in range(3)]
    units = [train(task_id, 1)[0] for task_id in logs]
    [chunk] = units[1].chunks
    late = msgspec.structs.replace(chunk, captured_us=2**63)
    units[1] = dataclasses.replace(units[1], chunks=(late,))
    lane = Lane(real)
    if isinstance(real.transactions, MemoryTransactions):
        lane.refused = logs[1]  # memory itself takes any number
    async with committing(lane) as (commit, durable):
        answers = [await commit.offer(unit) for unit in units]
        for answer in (answers[0], answers[2]):
            assert (await answer)[0] is Verdict.APPEND
        with pytest.raises(RefusedOutputError):
            await answers[1]
        lane.refused = None
        [follower] = train(logs[1], 1)
        assert (await (await commit.offer(follower)))[0] is Verdict.APPEND
    assert [unit.task_id for unit in durable] == [logs[0], logs[2], logs[1]]
    await real.lane.close()
