"""Logs and chunks in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.logs.model import LogRecord, Outcome, Unit, day_of
from sluice.logs.tables import log_chunks, logs
from sluice.wire.chunk import Chunk, Kind, Source

MAX_ROWS = 4000
_LOCK_TIMEOUT = "200ms"
_LOCK_KEY = 0x51_0C_E0_01

# the `kind` column has a chunk's flags in its higher bits
_KIND_MASK = 0x0F
_FLAG_SHIFT = 4
_SOURCES = {int(source): source for source in Source}
_KINDS = {int(kind): kind for kind in Kind}
_CHUNK = (
    log_chunks.c.offset,
    log_chunks.c.first_line,
    log_chunks.c.source,
    log_chunks.c.kind,
    log_chunks.c.captured_us,
    log_chunks.c.data,
    log_chunks.c.meta,
)


class SqlLogStore:
    """`LogStore` in SQL."""

    def __init__(self) -> None:
        self._days: set[int] = set()

    async def open(self, tx: Tx, task_id: TaskId, *, at: datetime) -> None:
        """Add an empty log under epoch 0; where there is one already, nothing changes."""
        connection = connection_of(tx)
        day = day_of(at)
        if connection.dialect.name == "postgresql":
            await self._ensure_day(connection, day)
            statement: Any = postgresql.insert(logs)
        else:
            statement = sqlite.insert(logs)
        await connection.execute(
            statement.values(
                task_id=task_id,
                day=day,
                epoch=0,
                committed=0,
                next_line=1,
                sealed=False,
                opened_at=at,
            ).on_conflict_do_nothing()
        )

    async def get(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """A log's record."""
        query = select(logs).where(logs.c.task_id == task_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _record(row)

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """Raise the epoch by one; None where the log is unknown or sealed."""
        found = await self.hand_over_all(tx, [task_id])
        return found[0] if found else None

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> list[LogRecord]:
        """`hand_over` for many; those that are unknown or sealed are left out."""
        change = (
            update(logs)
            .where(among(logs.c.task_id, task_ids), ~logs.c.sealed)
            .values(epoch=logs.c.epoch + 1)
            .returning(*logs.c)
        )
        return [_record(row) for row in await connection_of(tx).execute(change)]

    async def put(self, tx: Tx, unit: Unit) -> Outcome:
        """Append a unit inside the caller's transaction."""
        connection = connection_of(tx)
        change = (
            update(logs)
            .where(
                logs.c.task_id == unit.task_id,
                logs.c.epoch == unit.epoch,
                logs.c.committed == unit.offset,
                logs.c.next_line == unit.first_line,
                ~logs.c.sealed,
            )
            .values(committed=unit.end, next_line=unit.next_line)
            .returning(logs.c.day)
        )
        day = (await connection.execute(change)).scalar_one_or_none()
        if day is None:
            record = await self.get(tx, unit.task_id)
            return Outcome(False, None if record is None else record.head)
        await connection.execute(insert(log_chunks), rows_of(unit, day))
        return Outcome(True, unit.after)

    async def read_chunks(
        self, tx: Tx, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``."""
        mine = _of(log)
        begin = (
            select(func.max(log_chunks.c.offset))
            .where(mine, log_chunks.c.offset <= offset)
            .scalar_subquery()
        )
        query = (
            select(*_CHUNK)
            .where(
                mine,
                log_chunks.c.offset >= begin,
                log_chunks.c.offset < offset + max(budget, 1),
                or_(
                    log_chunks.c.offset + log_chunks.c.length > offset,
                    log_chunks.c.offset == offset,
                ),
            )
            .order_by(log_chunks.c.offset)
            .limit(MAX_ROWS)
        )
        rows = (await connection_of(tx).execute(query)).all()
        return [chunk_of(row) for row in rows]

    async def chunk_at_line(self, tx: Tx, log: LogRecord, line: int) -> Chunk | None:
        """The chunk that holds the newline before line ``line``, or the last with bytes."""
        query = (
            select(*_CHUNK)
            .where(_of(log), log_chunks.c.first_line < line, log_chunks.c.length > 0)
            .order_by(log_chunks.c.first_line.desc(), log_chunks.c.offset.desc())
            .limit(1)
        )
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else chunk_of(row)

    async def seal(self, tx: Tx, log: LogRecord, end: Chunk, *, at: datetime) -> bool:
        """Store the `end` event and close the log."""
        event = end.event
        connection = connection_of(tx)
        change = (
            update(logs)
            .where(
                logs.c.task_id == log.task_id,
                logs.c.committed == end.offset,
                ~logs.c.sealed,
            )
            .values(
                sealed=True,
                sealed_at=at,
                sha256=getattr(event, "sha256", None),
                final_status=getattr(event, "status", None),
            )
        )
        if (await connection.execute(change)).rowcount == 0:
            return False
        await connection.execute(
            insert(log_chunks), [_row(log.task_id, log.day, end, newlines=0)]
        )
        return True

    async def archivable(
        self, tx: Tx, *, sealed_before: datetime, limit: int
    ) -> list[LogRecord]:
        """Logs sealed before then that have no archived object yet, oldest first."""
        query = (
            select(logs)
            .where(
                logs.c.sealed,
                logs.c.archived_at.is_(None),
                logs.c.sealed_at <= sealed_before,
            )
            .order_by(logs.c.sealed_at)
            .limit(limit)
        )
        return [_record(row) for row in await connection_of(tx).execute(query)]

    async def set_archived(
        self, tx: Tx, task_id: TaskId, *, blob_key: str, at: datetime
    ) -> None:
        """From now on the object is read instead of the rows."""
        change = (
            update(logs)
            .where(logs.c.task_id == task_id, logs.c.sealed)
            .values(blob_key=blob_key, archived_at=at)
        )
        await connection_of(tx).execute(change)

    async def leftovers(self, tx: Tx, limit: int) -> list[TaskId]:
        """Archived logs that still have chunk rows."""
        query = (
            select(log_chunks.c.task_id)
            .distinct()
            .join(logs, logs.c.task_id == log_chunks.c.task_id)
            .where(logs.c.archived_at.is_not(None))
            .limit(limit)
        )
        return [TaskId(row[0]) for row in await connection_of(tx).execute(query)]

    async def delete_chunks(self, tx: Tx, task_id: TaskId, limit: int) -> int:
        """Delete up to ``limit`` chunk rows of an archived log."""
        archived = select(logs.c.task_id).where(
            logs.c.task_id == task_id, logs.c.archived_at.is_not(None)
        )
        some = (
            select(log_chunks.c.offset)
            .where(log_chunks.c.task_id.in_(archived))
            .order_by(log_chunks.c.offset)
            .limit(limit)
        )
        change = delete(log_chunks).where(
            log_chunks.c.task_id == task_id, log_chunks.c.offset.in_(some)
        )
        return (await connection_of(tx).execute(change)).rowcount

    async def remove(self, tx: Tx, task_id: TaskId) -> str | None:
        """Forget a log with its rows; the key of its archived object."""
        connection = connection_of(tx)
        await connection.execute(
            delete(log_chunks).where(log_chunks.c.task_id == task_id)
        )
        gone = delete(logs).where(logs.c.task_id == task_id).returning(logs.c.blob_key)
        key: str | None = (await connection.execute(gone)).scalar_one_or_none()
        return key

    async def retire(self, tx: Tx, task_id: TaskId, *, at: datetime) -> bool:
        """Nobody reads an archived log any more: its rows go, its record stays."""
        connection = connection_of(tx)
        change = (
            update(logs)
            .where(
                logs.c.task_id == task_id,
                logs.c.archived_at.is_not(None),
                logs.c.removed_at.is_(None),
            )
            .values(removed_at=at)
        )
        if (await connection.execute(change)).rowcount == 0:
            return False
        await connection.execute(
            delete(log_chunks).where(log_chunks.c.task_id == task_id)
        )
        return True

    async def forget_object(self, tx: Tx, task_id: TaskId) -> bool:
        """The object of a retired log is deleted; False where that was known."""
        change = (
            update(logs)
            .where(
                logs.c.task_id == task_id,
                logs.c.removed_at.is_not(None),
                logs.c.blob_key.is_not(None),
            )
            .values(blob_key=None)
        )
        return (await connection_of(tx).execute(change)).rowcount > 0

    async def drop_days(self, tx: Tx, *, before: int) -> list[int]:
        """Drop whole days before ``before`` whose logs are all archived (PostgreSQL)."""
        connection = connection_of(tx)
        if connection.dialect.name != "postgresql":
            return []
        await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        dropped = []
        for day in await _days_of(connection):
            if day < before and await _all_archived(connection, day):
                try:
                    async with connection.begin_nested():
                        await connection.execute(text(f"DROP TABLE {_partition(day)}"))
                except DBAPIError:
                    # a reader holds it: the next round tries again
                    continue
                self._days.discard(day)
                dropped.append(day)
        return dropped

    async def _ensure_day(self, connection: AsyncConnection, day: int) -> None:
        """Make the day's partition; attaching an empty table locks out no reader."""
        if day in self._days:
            return
        name = _partition(day)
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY}
        )
        exists = await connection.scalar(
            text("SELECT to_regclass(:name)"), {"name": name}
        )
        if exists is None:
            for statement in (
                f"CREATE TABLE {name} (LIKE log_chunks INCLUDING ALL)",
                # the bytes are read as they are, and a day later compressed in the archive
                f"ALTER TABLE {name} ALTER COLUMN data SET STORAGE EXTERNAL",
                (
                    f"ALTER TABLE log_chunks ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ({day}) TO ({day + 1})"
                ),
            ):
                await connection.execute(text(statement))
        else:
            # made by a transaction that is over: it is there to stay
            self._days.add(day)


def rows_of(unit: Unit, day: int) -> list[dict[str, Any]]:
    """A unit's chunks as rows of `log_chunks`."""
    lines = [chunk.first_line for chunk in unit.chunks[1:]]
    return [
        _row(unit.task_id, day, chunk, newlines=following - chunk.first_line)
        for chunk, following in zip(unit.chunks, [*lines, unit.next_line], strict=True)
    ]


def _row(task_id: TaskId, day: int, chunk: Chunk, *, newlines: int) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "day": day,
        "offset": chunk.offset,
        "length": len(chunk.data),
        "first_line": chunk.first_line,
        "newlines": newlines,
        "source": int(chunk.source),
        "kind": int(chunk.kind) | chunk.flags << _FLAG_SHIFT,
        "captured_us": chunk.captured_us,
        "crc": chunk.crc(),
        "meta": chunk.meta,
        "data": chunk.data,
    }


def _of(log: LogRecord) -> ColumnElement[bool]:
    return and_(log_chunks.c.task_id == log.task_id, log_chunks.c.day == log.day)


def chunk_of(row: Sequence[Any]) -> Chunk:
    """A chunk from the columns that `read_chunks` asks for, in its order."""
    offset, line, source, kind, captured, data, meta = row
    return Chunk(
        offset,
        line,
        _SOURCES[source],
        _KINDS[kind & _KIND_MASK],
        captured,
        data,
        meta,
        kind >> _FLAG_SHIFT,
    )


def _record(row: Any) -> LogRecord:
    return LogRecord(
        task_id=TaskId(row.task_id),
        day=row.day,
        epoch=row.epoch,
        committed=row.committed,
        next_line=row.next_line,
        sealed=row.sealed,
        sha256=row.sha256,
        final_status=row.final_status,
        blob_key=row.blob_key,
        opened_at=row.opened_at,
        sealed_at=row.sealed_at,
        archived_at=row.archived_at,
        removed_at=row.removed_at,
    )


def _partition(day: int) -> str:
    return f"log_chunks_{day}"


async def _days_of(connection: AsyncConnection) -> Sequence[int]:
    names = await connection.scalars(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'log_chunks'::regclass"
        )
    )
    return sorted(int(name.rsplit("_", 1)[1]) for name in names)


async def _all_archived(connection: AsyncConnection, day: int) -> bool:
    query = (
        select(logs.c.task_id)
        .where(logs.c.day == day, logs.c.archived_at.is_(None))
        .limit(1)
    )
    return (await connection.execute(query)).first() is None
