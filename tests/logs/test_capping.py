"""A log that reaches its limit: what is stored, what is answered, what is dropped."""

from collections.abc import AsyncIterator

import pytest

from sluice.logs.assembly import LogBacking, LogSystem
from sluice.testing.memory_logs import MemoryBlobs, MemoryChunkLane
from sluice.wire.chunk import Chunk, Source, event_chunk
from sluice.wire.events import Note
from sluice.wire.log_flow import EVENT_ROOM, Ack, AckStatus
from sluice.wire.script_mark import SaidLine, ScriptMark
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

LIMIT = 100


@pytest.fixture
async def small(backing: LogBacking) -> AsyncIterator[LogSystem]:
    """Logs of 100 bytes."""
    async with running(backing, limit=LIMIT) as started:
        yield started


async def handed_over(system: LogSystem, backing: LogBacking) -> Agent:
    task_id = await new_log(system, backing)
    async with backing.transactions.write() as tx:
        at = await system.logs.hand_over(tx, task_id)
    return Agent(system, task_id, at.epoch, at.offset, at.next_line)


def note(line: bytes) -> Chunk:
    return event_chunk(Note(), line, source=Source.AGENT, captured_us=NOW_US)


async def offered(agent: Agent, *chunks: Chunk) -> Ack:
    at, payload = agent.place(chunks)
    logs = agent.system.logs
    return await logs.append(agent.task_id, agent.epoch, at, payload)


async def test_a_log_takes_exactly_its_limit(
    small: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(small, backing)
    assert (await offered(agent, output(b"x" * LIMIT))).status is AckStatus.OK
    full = await offered(agent, output(b"y"))
    assert full == Ack(AckStatus.FULL, LIMIT, 1, limit=LIMIT)
    await small.logs.seal(agent.task_id, "success")
    assert await read_text(small, agent.task_id) == b"x" * LIMIT


async def test_what_fits_of_an_upload_is_stored(
    small: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(small, backing)
    full = await offered(agent, output(b"a" * 60), output(b"b" * 60), note(b"n\n"))
    assert full == Ack(AckStatus.FULL, 60, 1, limit=LIMIT)
    # the sender goes on from there, up to the limit
    agent.offset, agent.line = 60, 1
    assert (await offered(agent, output(b"b" * 40))).committed == LIMIT


async def test_uploads_under_way_are_answered_in_order(
    small: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(small, backing)
    pending = []
    for _ in range(12):
        at, payload = agent.place([output(b"x" * 10)])
        pending.append(await small.logs.offer(agent.task_id, 1, at, payload))
    acks = [await one.ack() for one in pending]
    assert [ack.committed for ack in acks] == sorted(ack.committed for ack in acks)
    assert {ack.status for ack in acks[:10]} == {AckStatus.OK}
    assert acks[10].status is AckStatus.FULL
    assert acks[10].committed == LIMIT
    # a straggler behind what was refused
    assert acks[11].status is AckStatus.REFUSED


async def test_events_are_told_in_a_full_log(
    small: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(small, backing)
    await offered(agent, output(b"x" * LIMIT))
    assert (await offered(agent, note(b"told\n"))).status is AckStatus.OK
    room = await offered(agent, note(b"n" * EVENT_ROOM + b"\n"))
    assert room.status is AckStatus.FULL
    assert room.committed == LIMIT + 5


async def test_what_was_stored_under_a_higher_limit_stays(
    transactions: Backing, blobs: MemoryBlobs
) -> None:
    before = backing_of(transactions.transactions, blobs)
    async with running(before) as system:
        agent = await handed_over(system, before)
        await offered(agent, output(b"x" * 500))
    again = before
    if not isinstance(before.lane, MemoryChunkLane):
        again = backing_of(transactions.transactions, blobs)
    async with running(again, limit=LIMIT) as system:
        agent.system = system
        probe = await system.logs.append(agent.task_id, 1, 500, b"")
        assert probe.status is AckStatus.OK
        assert await offered(agent, output(b"y")) == Ack(
            AckStatus.FULL, 500, 1, limit=LIMIT
        )


async def test_a_full_log_still_fences(small: LogSystem, backing: LogBacking) -> None:
    agent = await handed_over(small, backing)
    await offered(agent, output(b"x" * LIMIT))
    async with backing.transactions.write() as tx:
        await small.logs.hand_over(tx, agent.task_id)
    assert (await offered(agent, output(b"y"))).status is AckStatus.WRONG_EPOCH
    await small.logs.seal(agent.task_id, "failed")
    agent.epoch, agent.offset = 2, LIMIT
    assert (await offered(agent, output(b"z"))).status is AckStatus.CLOSED


async def test_records_that_reach_the_limit_are_the_last(
    small: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(small, backing)

    async def say(text: str) -> tuple[int, int]:
        said = SaidLine(source=Source.STDOUT, message=text, captured_us=NOW_US)
        return await small.logs.write(task_id, 0, [said], ScriptMark())

    assert await say("a" * 59) == (1, 2)
    assert await say("b" * 59) == (2, 4)
    assert await say("c") == (4, 4)
    assert await say("d") == (4, 4)
    await small.logs.seal(task_id, "success")
    text = (await read_text(small, task_id)).decode()
    assert text.startswith("a" * 59 + "\n" + "b" * 59 + "\n===== output from byte 120 ")
    assert "log_bytes_per_task" in text
    assert text.count("\n") == 3
