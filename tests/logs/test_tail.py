"""Following: every reader gets each line once, in order, however it is slow, cut or elsewhere."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from sluice.base.errors import NotFoundError, UnavailableError
from sluice.base.ids import TaskId, new_task_id
from sluice.events.hub import Hub
from sluice.events.topics import task_topic, watch_topic
from sluice.logs import lane, ring, tail
from sluice.logs.archiver import archive_log
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.logs.dialects import DialectName
from sluice.logs.lane import Reader
from sluice.logs.tails import from_line, from_offset
from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.chunk import Chunk, Source, event_chunk
from sluice.wire.events import Stage, StageBegin
from sluice.wire.frames import text_messages
from tests.logs.harness import (
    NOW_US,
    Agent,
    backing_of,
    expected_lines,
    frames_of,
    lines_of,
    new_log,
    output,
    read_text,
    running,
)

HARD = b"\xff\xfe\0\r50%\r100%\n\xe2\x94\x82 caf\xc3\xa9 \xf0\x9f\n\n\x1b[31mred\x1b[0m\x7f\n"


def numbered(start: int, count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(start, start + count))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers look again very soon, so that lost hints cost a test no seconds."""
    monkeypatch.setattr(tail, "RECHECK_SECONDS", (0.02, 0.03))
    monkeypatch.setattr(tail, "WATCH_SECONDS", 0.02)


# --- what comes out -------------------------------------------------------------


async def test_any_bytes_come_back_exactly(
    system: LogSystem, backing: LogBacking, blobs: MemoryBlobs
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    long = b"z" * 3_000_000
    whole = HARD + long + b"\n" + HARD + b"no newline"
    rng = random.Random(7)
    at = 0
    while at < len(whole):
        step = rng.choice([1, 2, 3, 50, 200_000])
        await agent.send(output(whole[at : at + step]))
        at += step
    assert (await system.logs.head(task_id)).committed == len(whole)
    await system.logs.seal(task_id, "success")
    for _ in ("from rows", "from the archive"):
        assert await read_text(system, task_id) == whole
        assert await read_text(system, task_id, offset=100) == whole[100:]
        for dialect in (DialectName.BATCH, DialectName.LIVE):
            frames = await frames_of(system, task_id, dialect=dialect)
            assert lines_of(frames) == expected_lines(whole)
        frames = await frames_of(system, task_id, after=6)
        assert lines_of(frames) == expected_lines(whole)[6:]
        view = await system.logs.view(task_id)
        if view.record.archived_at is None:
            await archive_log(system.archiver.parts, view.record)


async def test_the_last_thousand_lines_are_the_default(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    await agent.say(numbered(1, 1500))
    async with system.tails.read(task_id, DialectName.BATCH, from_line(None)) as reader:
        frames = [
            json.loads(text) for text in text_messages(await reader.next() or b"")
        ]
    assert lines_of(frames) == [(n, f"line {n}") for n in range(501, 1501)]
    await agent.say(b"rest")
    await system.logs.seal(task_id, "success")
    lines = lines_of(await frames_of(system, task_id, after=None))
    assert (len(lines), lines[0], lines[-1]) == (
        1000,
        (502, "line 502"),
        (1501, "rest"),
    )


@pytest.mark.parametrize(
    ("after", "expected"), [(0, 3), (1, 2), (2, 1), (3, 0), (4, 0), (10**9, 0)]
)
async def test_after_the_end_nothing_comes_twice(
    system: LogSystem, backing: LogBacking, after: int, expected: int
) -> None:
    task_id = await new_log(system, backing)
    await Agent(system, task_id).say(b"one\ntwo\nthree")
    await system.logs.seal(task_id, "success")
    assert len(lines_of(await frames_of(system, task_id, after=after))) == expected


async def test_an_empty_log_ends(system: LogSystem, backing: LogBacking) -> None:
    task_id = await new_log(system, backing)
    await system.logs.seal(task_id, "canceled")
    async with system.tails.read(task_id, DialectName.BATCH, from_line(None)) as reader:
        assert await reader.next() is None
        assert reader.tail.end is not None
        assert reader.tail.end.status == "canceled"


async def test_there_is_no_following_of_nothing(system: LogSystem) -> None:
    with pytest.raises(NotFoundError):
        async with system.tails.read(new_task_id(), DialectName.BATCH, from_line(None)):
            pass
    assert system.tails.stats().count == 0


async def test_a_marker_in_the_middle_of_a_line(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    marker = event_chunk(
        StageBegin(Stage.INIT, "plan"),
        b"\n===== INIT BEGIN\n",
        source=Source.AGENT,
        captured_us=NOW_US,
    )
    async with asyncio.TaskGroup() as group:
        follow = group.create_task(frames_of(system, task_id))
        await asyncio.sleep(0.03)
        await agent.say(b"37%")
        await agent.send(marker)
        await agent.say(b"after\n")
        await system.logs.seal(task_id, "success")
    assert lines_of(follow.result()) == [
        (1, "37%"),
        (2, "===== INIT BEGIN"),
        (3, "after"),
    ]
    assert [frame["type"] for frame in follow.result()] == [
        "batch",
        "stage_marker",
        "batch",
    ]


# --- who gets it ----------------------------------------------------------------


async def test_readers_that_come_and_go_see_each_line_once(
    system: LogSystem, backing: LogBacking
) -> None:
    """Readers of all forms, cut at random, go on behind the last line they saw."""
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    rng = random.Random(3)
    pieces = [
        b"".join(
            rng.choice([b"x", b"y\n", b"\xc3\xa9", b"\n"])
            for _ in range(rng.randrange(1, 40))
        )
        for _ in range(150)
    ]
    whole = b"".join(pieces)

    async def reconnecting(dialect: DialectName, seed: int) -> list[tuple[int, str]]:
        chance = random.Random(seed)
        seen: list[tuple[int, str]] = []
        while True:
            after = seen[-1][0] if seen else 0
            async with system.tails.read(task_id, dialect, from_line(after)) as reader:
                for _ in range(chance.randrange(1, 6)):
                    payload = await reader.next()
                    if payload is None:
                        return seen
                    frames = [json.loads(text) for text in text_messages(payload)]
                    seen += lines_of(frames)
                    await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))

    async with asyncio.TaskGroup() as group:
        readers = [
            group.create_task(reconnecting(dialect, seed))
            for seed in range(4)
            for dialect in (DialectName.BATCH, DialectName.LIVE)
        ]
        for piece in pieces:
            await agent.say(piece)
            await asyncio.sleep(rng.choice([0, 0, 0.003]))
        await system.logs.seal(task_id, "success")
    for reader in readers:
        assert reader.result() == expected_lines(whole)


async def test_a_slow_reader_holds_up_nobody_and_misses_nothing(
    system: LogSystem, backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RING_BYTES", 20_000)
    monkeypatch.setattr(ring, "RING_LINES", 50)
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    thaw = asyncio.Event()

    async def frozen() -> list[tuple[int, str]]:
        async with system.tails.read(
            task_id, DialectName.BATCH, from_line(0)
        ) as reader:
            payload = await reader.next()
            await thaw.wait()
            seen = []
            while payload is not None:
                seen += lines_of([json.loads(text) for text in text_messages(payload)])
                payload = await reader.next()
            return seen

    async with asyncio.TaskGroup() as group:
        await agent.say(numbered(0, 1))
        slow = group.create_task(frozen())
        fast = group.create_task(frames_of(system, task_id))
        await asyncio.sleep(0.05)
        for number in range(1, 200):
            await agent.say(numbered(number, 10))
        await system.logs.seal(task_id, "success")
        frames = await fast
        assert not slow.done()
        held = [one.ring for lanes in _lanes(system) for one in lanes]
        assert all(one.size <= 20_000 for one in held)
        thaw.set()
    assert lines_of(frames) == slow.result()
    assert len(slow.result()) == 1 + 199 * 10


def _lanes(system: LogSystem) -> Iterator[list[lane.Lane]]:
    for one in system.tails._tails.values():
        yield list(one._lanes.values())


async def test_memory_keeps_a_thousand_lines_and_lets_them_go(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    async with system.tails.read(task_id, DialectName.BATCH, from_line(0)) as reader:
        for number in range(60):
            await agent.say(numbered(number, 50))
            while reader.offset < agent.offset:
                await reader.next()
        [stat] = system.tails.stats().streams
        assert 1000 <= stat.buffer_size <= 1050
        assert (stat.task_id, stat.clients_count, stat.closed) == (task_id, 1, False)
        budget = reader.tail.metrics  # the tail is still there
        assert budget is not None
    assert system.tails.stats().streams == []
    assert _budget(system) == 0


def _budget(system: LogSystem) -> int:
    return system.tails._parts.budget.used


async def test_a_reader_with_a_push_is_written_to_while_it_waits(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    pushed: list[bytes] = []
    full = False

    def push(payload: bytes) -> bool:
        pushed.append(payload)
        return not full

    async with system.tails.read(task_id, DialectName.TEXT, from_offset(0)) as reader:
        reader.push = push
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_next(reader))
            await asyncio.sleep(0.03)
            await agent.say(b"a\n")
            await agent.say(b"b\n")
            await asyncio.sleep(0.05)
            assert (b"".join(pushed), waiting.done()) == (b"a\nb\n", False)
            full = True
            await agent.say(b"c\n")
            # told to come back when there is room, with nothing in hand
            assert await waiting == b""
            await agent.say(b"d\n")
            await asyncio.sleep(0.05)
        assert b"".join(pushed) == b"a\nb\nc\n"
        # in hand, or pushed where it comes only now
        last = await reader.next()
        assert b"".join([*pushed, last or b""]) == b"a\nb\nc\nd\n"


async def _next(reader: Reader) -> bytes | None:
    return await reader.next()


async def test_a_stopped_reader_gets_nothing_more(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    async with system.tails.read(task_id, DialectName.BATCH, from_line(0)) as reader:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_next(reader))
            await asyncio.sleep(0.02)
            reader.stop()
        assert waiting.result() is None


async def test_a_cancelled_wait_loses_nothing(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    found = b""
    async with system.tails.read(task_id, DialectName.TEXT, from_offset(0)) as reader:
        for number in range(30):
            await agent.say(b"%d\n" % number)
            try:
                async with asyncio.timeout(0.002):
                    found += await reader.next() or b""
            except TimeoutError:
                continue
        await system.logs.seal(task_id, "success")
        while (payload := await reader.next()) is not None:
            found += payload
    assert found == b"".join(b"%d\n" % number for number in range(30))


async def test_a_fault_of_the_pump_is_told_and_over_with_the_next_reader(
    system: LogSystem, backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    await agent.say(b"a\n")
    with monkeypatch.context() as patch:

        def broken(*_: object) -> list[object]:
            raise ValueError("a fault")

        async with system.tails.read(
            task_id, DialectName.BATCH, from_line(0)
        ) as reader:
            await reader.next()
            patch.setattr("sluice.logs.lines.Assembler.feed", broken)
            await agent.say(b"b\n")
            with pytest.raises(UnavailableError, match="follow it again"):
                await reader.next()
    await system.logs.seal(task_id, "success")
    assert lines_of(await frames_of(system, task_id)) == [(1, "a"), (2, "b")]


async def test_a_database_that_is_away_only_delays(
    system: LogSystem, backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.02)
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    async with asyncio.TaskGroup() as group:
        follow = group.create_task(frames_of(system, task_id))
        await asyncio.sleep(0.03)
        with monkeypatch.context() as patch:

            async def away(*_: object) -> list[Chunk]:
                raise UnavailableError("gone")

            patch.setattr(backing.lane, "read_chunks", away)
            async with backing.transactions.write() as tx:
                await system.logs.note(tx, task_id, "note")
            system.tails._parts.hub.publish(task_topic(task_id))
            await asyncio.sleep(0.05)
            assert not follow.done()
        await agent_again(agent).say(b"a\n")
        await system.logs.seal(task_id, "success")
    assert lines_of(follow.result()) == [(1, "note"), (2, "a")]


def agent_again(agent: Agent) -> Agent:
    """The same writer behind the server's note."""
    agent.offset, agent.line = agent.offset + len(b"note\n"), agent.line + 1
    return agent


async def test_what_is_delivered_is_counted(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    await agent.say(numbered(1, 3))

    def value(name: str) -> float:
        registry = system.tails._parts.metrics.registry
        return registry.get_sample_value(f"terraform_output_{name}") or 0.0

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(frames_of(system, task_id))
        async with asyncio.timeout(30):
            while (value("active_streams"), value("active_clients")) != (1, 2):
                await asyncio.sleep(0.01)
        await agent.say(numbered(4, 2))
        await system.logs.seal(task_id, "success")
    assert (value("active_streams"), value("active_clients")) == (0, 0)
    assert value("messages_total") == 2 * 5
    assert value("bytes_total") > 2 * 5 * len("line 1")
    assert value("delivery_seconds_count") >= 1


# --- several servers ------------------------------------------------------------


# memory is not shared between processes
shared = pytest.mark.parametrize("backing_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def other(transactions: object, blobs: MemoryBlobs) -> AsyncIterator[LogSystem]:
    """Another server process on the same store; no hint ever comes from it."""
    same = backing_of(transactions.transactions, blobs)  # type: ignore[attr-defined]
    async with running(same, Hub()) as system:
        yield system


@shared
@pytest.mark.usefixtures("impatient")
async def test_lost_hints_delay_and_never_stall(
    system: LogSystem, backing: LogBacking, other: LogSystem
) -> None:
    task_id = await new_log(system, backing)
    writers = [Agent(system, task_id), Agent(other, task_id)]
    whole = b""
    async with asyncio.TaskGroup() as group:
        here = group.create_task(frames_of(system, task_id))
        there = group.create_task(frames_of(other, task_id))
        text = group.create_task(read_text(other, task_id))
        await asyncio.sleep(0.05)
        for number in range(40):
            writer = writers[number // 3 % 2]
            head = await system.logs.head(task_id)
            writer.offset, writer.line = head.committed, head.next_line
            piece = numbered(number, 3) + b"half "
            await writer.say(piece)
            whole += piece
            if number % 9 == 0:
                async with backing.transactions.write() as tx:
                    await system.logs.note(tx, task_id, f"note {number}")
                whole += b"\nnote %d\n" % number
            if number % 7 == 0:
                await asyncio.sleep(0.04)
        await other.logs.seal(task_id, "failed")
    assert text.result() == whole
    assert lines_of(here.result()) == expected_lines(whole)
    assert lines_of(there.result()) == expected_lines(whole)


@shared
@pytest.mark.usefixtures("impatient")
async def test_a_reader_may_know_more_than_the_server_it_comes_to(
    system: LogSystem, backing: LogBacking, other: LogSystem
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    await agent.say(numbered(1, 3))
    async with other.tails.read(task_id, DialectName.BATCH, from_line(0)) as reader:
        await reader.next()
        # the other server's tail stands at line 3; this reader has seen ten
        await agent.say(numbered(4, 7))
        async with asyncio.TaskGroup() as group:
            follow = group.create_task(frames_of(other, task_id, after=10))
            await asyncio.sleep(0.1)
            await agent.say(numbered(11, 2))
            await system.logs.seal(task_id, "success")
    assert lines_of(follow.result()) == [(11, "line 11"), (12, "line 12")]


@shared
@pytest.mark.usefixtures("impatient")
async def test_a_log_may_be_archived_while_somebody_waits_elsewhere(
    system: LogSystem, backing: LogBacking, other: LogSystem
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    await agent.say(numbered(1, 3))
    async with asyncio.TaskGroup() as group:
        follow = group.create_task(frames_of(other, task_id))
        await asyncio.sleep(0.05)
        await agent.say(numbered(4, 3))
        await system.logs.seal(task_id, "success")
        record = (await system.logs.view(task_id)).record
        await archive_log(system.archiver.parts, record)
    assert lines_of(follow.result()) == [(n, f"line {n}") for n in range(1, 7)]


# --- being watched --------------------------------------------------------------


@shared
@pytest.mark.usefixtures("impatient")
async def test_an_agent_hears_that_somebody_reads_along(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    assert not (await agent.say(b"x\n")).watched
    hub = system.tails._parts.hub
    with hub.subscribe(watch_topic(task_id)) as watching:
        async with system.tails.read(task_id, DialectName.BATCH, from_line(0)):
            assert (await agent.say(b"y\n")).watched
            for _ in range(3):
                assert await watching.wait(1.0)
    assert not (await agent.say(b"z\n")).watched


async def test_watching_elsewhere_counts_for_a_while(
    system: LogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = TaskId("task-1")
    monkeypatch.setattr("sluice.logs.tails.REMOTE_WATCH_SECONDS", 0.05)
    system.tails.watched_elsewhere(task_id)
    assert system.logs.watched(task_id)
    await asyncio.sleep(0.06)
    assert not system.logs.watched(task_id)
    system.tails.watched_elsewhere(task_id)
    system.tails.forget(task_id)
    assert not system.logs.watched(task_id)
