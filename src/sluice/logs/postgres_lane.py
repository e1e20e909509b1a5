"""Appends chunks to PostgreSQL and reads them: one statement, so one round trip, a call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from sluice.base.errors import UnavailableError
from sluice.base.ids import TaskId
from sluice.db.engine import Database
from sluice.logs.model import LogRecord, Outcome, RefusedOutputError, Unit
from sluice.logs.store import MAX_ROWS, chunk_of, rows_of
from sluice.wire.chunk import Chunk
from sluice.wire.log_flow import Head

READERS = 3
_DEADLOCK_RETRIES = 2
_REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError)

# the row of each log moves only from where its unit begins; chunks go in for those moved
_APPEND = """
WITH unit AS (
  SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]
  ) AS u(task_id, epoch, at_offset, at_line, committed, next_line)
), moved AS (
  UPDATE logs SET committed = unit.committed, next_line = unit.next_line
  FROM unit
  WHERE logs.task_id = unit.task_id AND logs.epoch = unit.epoch
    AND logs.committed = unit.at_offset AND logs.next_line = unit.at_line
    AND NOT logs.sealed
  RETURNING logs.task_id, logs.day
), put AS (
  INSERT INTO log_chunks (
    task_id, day, "offset", length, first_line, newlines, source, kind, captured_us,
    crc, meta, data
  )
  SELECT chunk.task_id, moved.day, chunk.at_offset, chunk.length, chunk.first_line,
    chunk.newlines, chunk.source, chunk.kind, chunk.captured_us, chunk.crc, chunk.meta,
    chunk.data
  FROM unnest(
    $7::text[], $8::bigint[], $9::int[], $10::bigint[], $11::int[], $12::smallint[],
    $13::smallint[], $14::bigint[], $15::bigint[], $16::bytea[], $17::bytea[]
  ) AS chunk(
    task_id, at_offset, length, first_line, newlines, source, kind, captured_us, crc,
    meta, data
  )
  JOIN moved USING (task_id)
)
SELECT task_id FROM moved
"""
_HEADS = """
SELECT task_id, epoch, committed, next_line, sealed FROM logs WHERE task_id = ANY($1)
"""
_READ = f"""
SELECT "offset", first_line, source, kind, captured_us, data, meta FROM log_chunks
WHERE task_id = $1 AND day = $2
  AND "offset" >= (
    SELECT max("offset") FROM log_chunks
    WHERE task_id = $1 AND day = $2 AND "offset" <= $3
  )
  AND "offset" < $3 + $4 AND ("offset" + length > $3 OR "offset" = $3)
ORDER BY "offset" LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants
_CHUNK_COLUMNS = (
    "task_id",
    "offset",
    "length",
    "first_line",
    "newlines",
    "source",
    "kind",
    "captured_us",
    "crc",
    "meta",
    "data",
)


class _Kept:
    """A connection that is kept between calls and made anew after a fault."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection | None = None

    async def driver(self) -> Any:
        """Asyncpg's own connection."""
        if self._connection is None:
            self._connection = await self._database.engine.connect()
        raw = await self._connection.get_raw_connection()
        return raw.driver_connection

    async def drop(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()


class _Pool:
    """A few kept connections; each call has one to itself."""

    def __init__(self, database: Database, size: int) -> None:
        self._all = [_Kept(database) for _ in range(size)]
        self._idle: asyncio.LifoQueue[_Kept] = asyncio.LifoQueue()
        for kept in self._all:
            self._idle.put_nowait(kept)

    @asynccontextmanager
    async def driver(self, done: str) -> AsyncIterator[Any]:
        """Asyncpg's connection for one call; ``done`` says what was to be done."""
        kept = await self._idle.get()
        try:
            yield await kept.driver()
        except _REFUSED as error:
            raise RefusedOutputError(
                f"The log could not be {done}: the database refuses it ({error})."
            ) from error
        except _AWAY as error:
            await kept.drop()
            raise UnavailableError(
                f"The log could not be {done} ({error}); it is tried again."
            ) from error
        finally:
            self._idle.put_nowait(kept)

    async def close(self) -> None:
        """Give all connections up."""
        for kept in self._all:
            await kept.drop()


class PostgresChunkLane:
    """`ChunkLane` on PostgreSQL, on connections it keeps. Close it at the end."""

    def __init__(self, database: Database) -> None:
        self._writer = _Pool(database, 1)
        self._readers = _Pool(database, READERS)

    async def append_many(self, units: Sequence[Unit]) -> list[Outcome]:
        """Store each unit whose log stands where the unit says."""
        # in one order everywhere, so that two servers seldom lock each other out
        ordered = sorted(units, key=lambda unit: unit.task_id)
        columns: list[list[Any]] = [
            [unit.task_id for unit in ordered],
            [unit.epoch for unit in ordered],
            [unit.offset for unit in ordered],
            [unit.first_line for unit in ordered],
            [unit.end for unit in ordered],
            [unit.next_line for unit in ordered],
        ]
        # the statement itself takes the day from the log's record
        rows = [row for unit in ordered for row in rows_of(unit, 0)]
        columns += [[row[name] for row in rows] for name in _CHUNK_COLUMNS]
        async with self._writer.driver("stored") as driver:
            moved = await _append(driver, columns)
            refused = [unit.task_id for unit in units if unit.task_id not in moved]
            heads = await _heads(driver, refused)
        return [
            Outcome(True, unit.after)
            if unit.task_id in moved
            else Outcome(False, heads.get(unit.task_id))
            for unit in units
        ]

    async def read_chunks(
        self, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``."""
        async with self._readers.driver("read") as driver:
            where = (log.task_id, log.day, offset, max(budget, 1))
            return [chunk_of(row) for row in await driver.fetch(_READ, *where)]

    async def tidy(self) -> None:
        """PostgreSQL keeps its own house."""

    async def close(self) -> None:
        """Give the connections back."""
        await self._writer.close()
        await self._readers.close()


async def _append(driver: Any, columns: list[list[Any]]) -> set[str]:
    for _ in range(_DEADLOCK_RETRIES):
        try:
            return await _append_once(driver, columns)
        except asyncpg.DeadlockDetectedError:
            continue
    return await _append_once(driver, columns)


async def _append_once(driver: Any, columns: list[list[Any]]) -> set[str]:
    return {row[0] for row in await driver.fetch(_APPEND, *columns)}


async def _heads(driver: Any, task_ids: Sequence[TaskId]) -> dict[str, Head]:
    if not task_ids:
        return {}
    return {
        row[0]: Head(row[1], row[2], row[3], row[4])
        for row in await driver.fetch(_HEADS, list(task_ids))
    }
