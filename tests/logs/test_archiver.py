"""Archiving: rows become an object that reads the same, and go only when it was checked."""

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from sluice.base.errors import UnavailableError
from sluice.base.ids import TaskId
from sluice.logs import archive, history
from sluice.logs.archive import ArchiveError
from sluice.logs.archiver import Archiver, ArchiverParts, archive_log
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.logs.history import DamagedLogError, Packed
from sluice.logs.model import LogRecord
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_logs import MemoryBlobs
from tests.logs.harness import (
    Agent,
    backing_of,
    frames_of,
    lines_of,
    new_log,
    read_text,
    running,
)


async def an_ended_log(
    system: LogSystem, backing: LogBacking, *, pieces: int = 40
) -> tuple[TaskId, bytes]:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    whole = b""
    for number in range(pieces):
        piece = b"line %d\nError: %d\n" % (number, number) * 25 + b"half "
        await agent.say(piece)
        whole += piece
    await system.logs.seal(task_id, "success")
    return task_id, whole


def all_lines(frames: list[dict[str, Any]]) -> list[list[object]]:
    """Lines with their times, sources and levels."""
    return [line for frame in frames for line in frame["lines"]]


def parts_of(system: LogSystem, **changes: object) -> ArchiverParts:
    changed = {"after": timedelta(0), **changes}
    return dataclasses.replace(system.archiver.parts, **changed)  # type: ignore[arg-type]


async def rows_of(backing: LogBacking, record: LogRecord) -> int:
    async with backing.transactions.read() as tx:
        return len(await backing.store.read_chunks(tx, record, 0, 1 << 40))


async def record_of(system: LogSystem, task_id: TaskId) -> LogRecord:
    return (await system.logs.view(task_id)).record


async def test_an_archived_log_reads_the_same(
    system: LogSystem, backing: LogBacking, blobs: MemoryBlobs
) -> None:
    task_id, whole = await an_ended_log(system, backing)
    running = await new_log(system, backing)
    before = [
        await read_text(system, task_id),
        all_lines(await frames_of(system, task_id)),
        lines_of(await frames_of(system, task_id, after=1234)),
        lines_of(await frames_of(system, task_id, after=None)),
    ]
    archiver = Archiver(parts_of(system))
    assert await archiver.round() == 1
    assert await archiver.round() == 0
    record = await record_of(system, task_id)
    assert record.blob_key == f"logs/{task_id}.slz"
    assert record.archived_at is not None
    assert (await record_of(system, running)).archived_at is None
    if backing.spare_rows:
        assert await rows_of(backing, record) == 0
    after = [
        await read_text(system, task_id),
        all_lines(await frames_of(system, task_id)),
        lines_of(await frames_of(system, task_id, after=1234)),
        lines_of(await frames_of(system, task_id, after=None)),
    ]
    assert before[0] == whole
    assert after == before


class CountingBlobs(MemoryBlobs):
    """Counts how often something is fetched."""

    fetched = 0

    @override
    async def get_range(self, key: str, start: int, length: int) -> bytes:
        self.fetched += 1
        return await super().get_range(key, start, length)


@pytest.mark.parametrize("at_once", [1, 700, 1 << 20])
async def test_a_reader_on_its_way_fetches_many_frames_at_once(at_once: int) -> None:
    blobs = CountingBlobs()
    backing = backing_of(MemoryTransactions(), blobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME_BYTES", 600)
        patch.setattr(history, "PACKED_BYTES", at_once)
        async with running(backing) as system:
            task_id, whole = await an_ended_log(system, backing)
            await Archiver(parts_of(system)).round()
            view = await system.logs.view(task_id)
            await view.read(0, 1)
            blobs.fetched = 0
            packed = Packed()
            found = b""
            while len(found) < len(whole):
                chunks = await view.read(len(found), 1, packed)
                assert chunks[0].offset <= len(found)
                found += b"".join(
                    chunk.data[max(0, len(found) - chunk.offset) :] for chunk in chunks
                )
            assert found == whole
            key = view.record.blob_key or ""
            index = await system.archiver.parts.history.index(key)
            frames = len(index.entries)
            assert frames > 10
            if at_once == 1:
                assert blobs.fetched >= frames - 1
            elif at_once == 700:
                assert 1 < blobs.fetched < frames / 2
            else:
                assert blobs.fetched == 1


async def test_a_view_from_before_finds_the_archive(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id, whole = await an_ended_log(system, backing)
    view = await system.logs.view(task_id)
    pieces = view.pieces(0, len(whole))
    found = await anext(pieces)
    position = await view.locate(500)
    await archive_log(parts_of(system), view.record)
    if backing.spare_rows:
        found += b"".join([piece async for piece in pieces])
        assert found == whole
    assert await view.locate(500) == position


async def test_a_log_waits_a_while_before_it_is_archived(
    system: LogSystem, backing: LogBacking
) -> None:
    await an_ended_log(system, backing, pieces=1)
    assert await Archiver(parts_of(system, after=timedelta(hours=1))).round() == 0


async def test_stored_output_that_is_not_what_the_end_says_stays_in_rows(
    system: LogSystem, backing: LogBacking, blobs: MemoryBlobs
) -> None:
    task_id, _ = await an_ended_log(system, backing, pieces=2)
    record = await record_of(system, task_id)
    lied_to = dataclasses.replace(record, sha256="0" * 64)
    with pytest.raises(ArchiveError, match="not what its end says"):
        await archive_log(parts_of(system), lied_to)
    assert blobs.blobs == {}
    assert await rows_of(backing, record) > 0


class ForgetfulBlobs(MemoryBlobs):
    """Keeps something else than it was given."""

    @override
    async def put(self, key: str, data: bytes | Path) -> None:
        await super().put(key, data)
        kept = bytearray(self.blobs[key])
        kept[10] ^= 0xFF
        self.blobs[key] = bytes(kept)


class AwayBlobs(MemoryBlobs):
    """Cannot be reached."""

    @override
    async def put(self, key: str, data: bytes | Path) -> None:
        raise UnavailableError("the blob store is away")


@pytest.mark.parametrize(
    ("blobs", "error"),
    [(ForgetfulBlobs(), DamagedLogError), (AwayBlobs(), UnavailableError)],
)
async def test_rows_stay_until_the_object_was_checked(
    system: LogSystem, backing: LogBacking, blobs: MemoryBlobs, error: type[Exception]
) -> None:
    task_id, whole = await an_ended_log(system, backing, pieces=2)
    record = await record_of(system, task_id)
    with pytest.raises(error):
        await archive_log(parts_of(system), record)
    archiver = Archiver(parts_of(system))
    assert await archiver.round() == 0
    assert (await record_of(system, task_id)).archived_at is None
    assert await read_text(system, task_id) == whole


async def test_rows_left_behind_are_swept_at_the_start(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id, whole = await an_ended_log(system, backing, pieces=50)
    record = await record_of(system, task_id)
    await archive_log(parts_of(system, spare_rows=False), record)
    assert await rows_of(backing, record) == 51
    await Archiver(parts_of(system, spare_rows=True)).sweep()
    assert await rows_of(backing, record) == 0
    assert await read_text(system, task_id) == whole


async def test_a_lost_object_is_named(
    system: LogSystem, backing: LogBacking, blobs: MemoryBlobs
) -> None:
    task_id, _ = await an_ended_log(system, backing, pieces=2)
    await archive_log(parts_of(system), await record_of(system, task_id))
    key = f"logs/{task_id}.slz"
    blobs.blobs[key] = blobs.blobs[key][:-7]
    system.archiver.parts.history.forget(key)
    with pytest.raises(DamagedLogError, match=key):
        await read_text(system, task_id)


async def test_the_loop_archives_by_itself(
    system: LogSystem, backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.logs.archiver.ROUND_SECONDS", 0.02)
    archiver = Archiver(parts_of(system))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(archiver.run())
        task_id, _ = await an_ended_log(system, backing, pieces=2)
        async with asyncio.timeout(10):
            while (await record_of(system, task_id)).archived_at is None:
                await asyncio.sleep(0.02)
        running.cancel()
    assert archiver.doing
