"""SQLite's hot path: checkpoints beside the writes, and a fair turn for other writers."""

import asyncio
from pathlib import Path

import pytest

from sluice.base.errors import UnavailableError
from sluice.db.engine import Database
from sluice.logs import sqlite_lane
from sluice.logs.sqlite_lane import SqliteChunkLane
from sluice.testing.memory_logs import MemoryBlobs
from tests.logs.harness import backing_of
from tests.logs.test_loop import train
from tests.logs.test_store import opened


async def test_the_write_ahead_log_does_not_grow_for_ever(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_lane, "CHECKPOINT_BYTES", 200_000)
    monkeypatch.setattr(sqlite_lane, "RESTART_BYTES", 1_000_000)
    backing = backing_of(sqlite_database, MemoryBlobs())
    task_id = await opened(backing)
    wal = Path(f"{sqlite_database.engine.url.database}-wal")
    sizes = []

    async def tidy() -> None:
        while True:
            await asyncio.sleep(0.001)
            await backing.lane.tidy()

    async with asyncio.TaskGroup() as group:
        tidying = group.create_task(tidy())
        for unit in train(task_id, 300, 50_000):
            await backing.lane.append_many([unit])
            sizes.append(wal.stat().st_size)
        tidying.cancel()
    await backing.lane.close()
    assert sum(sizes[-10:]) / 10 < 8_000_000 < 300 * 50_000


async def test_other_writers_get_their_turn(sqlite_database: Database) -> None:
    backing = backing_of(sqlite_database, MemoryBlobs())
    task_id = await opened(backing)
    done = 0

    async def others() -> None:
        nonlocal done
        for _ in range(20):
            async with sqlite_database.write() as tx:
                await backing.store.hand_over(tx, done_task)
            done += 1

    done_task = await opened(backing)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(others())
        for unit in train(task_id, 200, 20_000):
            await backing.lane.append_many([unit])
            if writing.done():
                break
    await backing.lane.close()
    assert done == 20


async def test_a_turn_inside_a_turn_is_a_mistake(sqlite_database: Database) -> None:
    async with sqlite_database.write():
        with pytest.raises(RuntimeError, match="of the same task"):
            async with sqlite_database.write():
                pass


async def test_a_file_that_is_away_is_named(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = SqliteChunkLane(sqlite_database)
    lane._path = "/nowhere/at/all.db"
    with pytest.raises(UnavailableError, match="could not be stored"):
        await lane.append_many([])
    await lane.close()
