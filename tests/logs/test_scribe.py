"""Records that the server writes: whole, in order, once, and cheap for many at a time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sluice.base.clock import SystemClock
from sluice.base.errors import ConflictError, NotFoundError, UnavailableError
from sluice.base.ids import TaskId
from sluice.events.hub import Hub
from sluice.logs.assembly import LogBacking, LogSystem, assemble_logs
from sluice.logs.loop import GroupCommit
from sluice.logs.model import Outcome, Unit
from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.chunk import Chunk, Source
from sluice.wire.log_flow import AckStatus
from sluice.wire.script_mark import SaidLine, ScriptMark, mark_of
from tests.conftest import Backing
from tests.logs.harness import (
    NOW_US,
    Agent,
    backing_of,
    new_log,
    output,
    read_text,
    running,
)

START = ScriptMark(floor="WARN")


@pytest.fixture
def elsewhere(
    transactions: Backing, backing: LogBacking, blobs: MemoryBlobs
) -> LogBacking:
    """The same logs, as another server process has them."""
    if transactions.kind == "memory":
        return backing
    return backing_of(transactions.transactions, blobs)


def said(*messages: str, level: str = "") -> list[SaidLine]:
    return [
        SaidLine(
            source=Source.STDOUT, message=text, captured_us=NOW_US + at, level=level
        )
        for at, text in enumerate(messages)
    ]


async def chunks_of(system: LogSystem, task_id: TaskId) -> list[Chunk]:
    view = await system.logs.view(task_id)
    found: list[Chunk] = []
    while True:
        at = found[-1].end if found else 0
        more = [chunk for chunk in await view.read(at, 10_000) if chunk.data]
        if not more or more[-1].end == at:
            return found
        found += [chunk for chunk in more if chunk.offset >= at]


async def test_records_are_durable_lines_in_order(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    assert await system.logs.write(task_id, 0, said("one", "two"), START) == (1, 3)
    assert await system.logs.write(task_id, 0, said("three\nfour"), START) == (3, 5)
    await system.logs.seal(task_id, "success")
    assert await read_text(system, task_id) == b"one\ntwo\nthree\nfour\n"


async def test_progress_goes_on_from_post_to_post(
    system: LogSystem, backing: LogBacking, elsewhere: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    await system.logs.write(task_id, 0, said("[1/4] fetching"), START)
    await system.logs.write(task_id, 0, said("busy"), START)
    async with running(elsewhere) as other:
        await other.logs.write(task_id, 0, said("busy still", level="WARN"), START)
    await system.logs.write(task_id, 0, said("[2/4] unpacking"), START)
    await system.logs.write(task_id, 0, said("done"), START)
    marks = [mark_of(chunk) for chunk in await chunks_of(system, task_id)]
    assert [(m.current_step, m.step, m.floor) for m in marks if m] == [
        (0, "", "WARN"),
        (1, "fetching", "WARN"),
        (1, "fetching", "WARN"),
        (1, "fetching", "WARN"),
        (2, "unpacking", "WARN"),
    ]


async def test_many_writers_at_once_lose_and_double_nothing(
    system: LogSystem, backing: LogBacking, elsewhere: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    async with running(elsewhere) as other:

        async def write(number: int) -> tuple[int, int]:
            logs = (system if number % 5 else other).logs
            return await logs.write(
                task_id, 0, said(f"{number} a", f"{number} b"), START
            )

        places = await asyncio.gather(*(write(number) for number in range(100)))
    await system.logs.seal(task_id, "success")
    lines = (await read_text(system, task_id)).decode().splitlines()
    wanted = {f"{number} {half}" for number in range(100) for half in "ab"}
    assert Counter(lines) == Counter(wanted)
    for number, (first, following) in enumerate(places):
        assert following == first + 2
        assert lines[first - 1 : following - 1] == [f"{number} a", f"{number} b"]


async def test_a_thousand_single_records_share_their_commits(
    backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one group commits all others gather, and are the next: two commits."""
    groups = offered = 0
    all_offered = asyncio.Event()
    append_many, offer = backing.lane.append_many, GroupCommit.offer

    async def counted(units: Sequence[Unit]) -> list[Outcome]:
        nonlocal groups
        groups += 1
        await all_offered.wait()
        return await append_many(units)

    async def noted(commit: GroupCommit, unit: Unit) -> Any:
        nonlocal offered
        answer = await offer(commit, unit)
        offered += 1
        if offered == 1000:
            all_offered.set()
        return answer

    monkeypatch.setattr(backing.lane, "append_many", counted)
    monkeypatch.setattr(GroupCommit, "offer", noted)
    async with running(backing) as system:
        task_id = await new_log(system, backing)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(
                    system.logs.write(task_id, 0, said(f"line {number}"), START)
                )
        assert (await system.logs.head(task_id)).next_line == 1001
    assert groups <= 2


async def test_another_epoch_ends_the_writing(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    await system.logs.write(task_id, 0, said("one"), START)
    async with backing.transactions.write() as tx:
        position = await system.logs.hand_over(tx, task_id)
    with pytest.raises(ConflictError, match="no longer written by this run"):
        await system.logs.write(task_id, 0, said("late"), START)
    agent = Agent(system, task_id, position.epoch, position.offset, position.next_line)
    assert (await agent.send(output(b"two\n"))).status is AckStatus.OK
    await system.logs.write(task_id, position.epoch, said("three"), START)
    await system.logs.seal(task_id, "failed")
    with pytest.raises(ConflictError):
        await system.logs.write(task_id, position.epoch, said("late"), START)
    assert await read_text(system, task_id) == b"one\ntwo\nthree\n"


async def test_an_unknown_log(system: LogSystem) -> None:
    with pytest.raises(NotFoundError):
        await system.logs.write(TaskId("task-none"), 0, said("x"), START)


async def test_a_server_that_does_not_run_says_so(
    system: LogSystem, backing: LogBacking, elsewhere: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    stopped = assemble_logs(
        elsewhere, hub=Hub(), clock=SystemClock(), registry=CollectorRegistry()
    )
    with pytest.raises(UnavailableError):
        await stopped.logs.write(task_id, 0, said("x"), START)
    assert await system.logs.write(task_id, 0, said("x"), START) == (1, 2)
    await elsewhere.lane.close()
