"""Logs and chunks in dicts, and blobs that live in memory."""

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from sluice.base.errors import NotFoundError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.logs.model import LogRecord, Outcome, Unit, day_of
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.chunk import Chunk
from sluice.wire.events import End


class MemoryLogStore:
    """The in-memory twin of `SqlLogStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._logs = transactions.table(dict[TaskId, LogRecord]())
        self._chunks = transactions.table(dict[TaskId, tuple[Chunk, ...]]())

    async def open(self, tx: Tx, task_id: TaskId, *, at: datetime) -> None:
        """Add an empty log under epoch 0; where there is one already, nothing changes."""
        writing(tx)
        self._logs.setdefault(
            task_id,
            LogRecord(
                task_id=task_id,
                day=day_of(at),
                epoch=0,
                committed=0,
                next_line=1,
                sealed=False,
                sha256=None,
                final_status=None,
                blob_key=None,
                opened_at=at,
                sealed_at=None,
                archived_at=None,
            ),
        )

    async def get(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """A log's record."""
        reading(tx)
        return self._logs.get(task_id)

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """Raise the epoch by one; None where the log is unknown or sealed."""
        writing(tx)
        record = self._logs.get(task_id)
        if record is None or record.sealed:
            return None
        return self._change(record, epoch=record.epoch + 1)

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> list[LogRecord]:
        """`hand_over` for many; those that are unknown or sealed are left out."""
        found = [await self.hand_over(tx, task_id) for task_id in task_ids]
        return [record for record in found if record is not None]

    async def put(self, tx: Tx, unit: Unit) -> Outcome:
        """Append a unit inside the caller's transaction."""
        writing(tx)
        record = self._logs.get(unit.task_id)
        if record is None:
            return Outcome(False, None)
        here = (record.epoch, record.committed, record.next_line)
        if record.sealed or here != (unit.epoch, unit.offset, unit.first_line):
            return Outcome(False, record.head)
        self._change(record, committed=unit.end, next_line=unit.next_line)
        self._chunks[unit.task_id] = self._of(unit.task_id) + unit.chunks
        return Outcome(True, unit.after)

    async def read_chunks(
        self, tx: Tx, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``."""
        reading(tx)
        stop = offset + max(budget, 1)
        return [
            chunk
            for chunk in self._of(log.task_id)
            if chunk.offset < stop and (chunk.end > offset or chunk.offset == offset)
        ]

    async def chunk_at_line(self, tx: Tx, log: LogRecord, line: int) -> Chunk | None:
        """The chunk that holds the newline before line ``line``, or the last with bytes."""
        reading(tx)
        before = [
            chunk
            for chunk in self._of(log.task_id)
            if chunk.first_line < line and chunk.data
        ]
        return before[-1] if before else None

    async def seal(self, tx: Tx, log: LogRecord, end: Chunk, *, at: datetime) -> bool:
        """Store the `end` event and close the log."""
        writing(tx)
        record = self._logs.get(log.task_id)
        if record is None or record.sealed or record.committed != end.offset:
            return False
        event = end.event
        self._change(
            record,
            sealed=True,
            sealed_at=at,
            sha256=event.sha256 if isinstance(event, End) else None,
            final_status=event.status if isinstance(event, End) else None,
        )
        self._chunks[log.task_id] = (*self._of(log.task_id), end)
        return True

    async def archivable(
        self, tx: Tx, *, sealed_before: datetime, limit: int
    ) -> list[LogRecord]:
        """Logs sealed before then that have no archived object yet, oldest first."""
        reading(tx)
        ended = [
            (record.sealed_at, record)
            for record in self._logs.values()
            if record.sealed_at is not None
            and record.archived_at is None
            and record.sealed_at <= sealed_before
        ]
        return [record for _, record in sorted(ended, key=lambda one: one[0])][:limit]

    async def set_archived(
        self, tx: Tx, task_id: TaskId, *, blob_key: str, at: datetime
    ) -> None:
        """From now on the object is read instead of the rows."""
        writing(tx)
        record = self._logs.get(task_id)
        if record is not None and record.sealed:
            self._change(record, blob_key=blob_key, archived_at=at)

    async def leftovers(self, tx: Tx, limit: int) -> list[TaskId]:
        """Archived logs that still have chunk rows."""
        reading(tx)
        return [
            task_id
            for task_id, record in self._logs.items()
            if record.archived_at is not None and self._of(task_id)
        ][:limit]

    async def delete_chunks(self, tx: Tx, task_id: TaskId, limit: int) -> int:
        """Delete up to ``limit`` chunk rows of an archived log."""
        writing(tx)
        record = self._logs.get(task_id)
        if record is None or record.archived_at is None:
            return 0
        gone = self._of(task_id)[:limit]
        self._chunks[task_id] = self._of(task_id)[limit:]
        return len(gone)

    async def remove(self, tx: Tx, task_id: TaskId) -> str | None:
        """Forget a log with its rows; the key of its archived object."""
        writing(tx)
        self._chunks.pop(task_id, None)
        record = self._logs.pop(task_id, None)
        return None if record is None else record.blob_key

    async def retire(self, tx: Tx, task_id: TaskId, *, at: datetime) -> bool:
        """Nobody reads an archived log any more: its rows go, its record stays."""
        writing(tx)
        record = self._logs.get(task_id)
        if record is None or record.archived_at is None or record.removed_at:
            return False
        self._chunks.pop(task_id, None)
        self._change(record, removed_at=at)
        return True

    async def forget_object(self, tx: Tx, task_id: TaskId) -> bool:
        """The object of a retired log is deleted; False where that was known."""
        writing(tx)
        record = self._logs.get(task_id)
        if record is None or record.removed_at is None or record.blob_key is None:
            return False
        self._change(record, blob_key=None)
        return True

    async def drop_days(self, tx: Tx, *, before: int) -> list[int]:
        """Nothing: memory has no partitions."""
        writing(tx)
        return []

    def _of(self, task_id: TaskId) -> tuple[Chunk, ...]:
        return self._chunks.get(task_id, ())

    def _change(self, record: LogRecord, **fields: object) -> LogRecord:
        changed = dataclasses.replace(record, **fields)  # type: ignore[arg-type]
        self._logs[record.task_id] = changed
        return changed


class MemoryChunkLane:
    """The in-memory twin of the hot path."""

    def __init__(self, transactions: MemoryTransactions, store: MemoryLogStore) -> None:
        self._transactions = transactions
        self._store = store

    async def append_many(self, units: Sequence[Unit]) -> list[Outcome]:
        """Store each unit whose log stands where the unit says."""
        async with self._transactions.write() as tx:
            return [await self._store.put(tx, unit) for unit in units]

    async def read_chunks(
        self, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``."""
        async with self._transactions.read() as tx:
            return await self._store.read_chunks(tx, log, offset, budget)

    async def tidy(self) -> None:
        """Nothing to tidy."""

    async def close(self) -> None:
        """Nothing to give back."""


class MemoryBlobs:
    """Blobs in a dict."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes | Path) -> None:
        """Store or replace a blob."""
        content = data.read_bytes() if isinstance(data, Path) else data  # noqa: ASYNC240 - small, in tests
        self.blobs[key] = content

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``; fewer where the blob ends before."""
        return self._get(key)[start : start + max(length, 0)]

    async def size(self, key: str) -> int:
        """Length of a blob."""
        return len(self._get(key))

    def _get(self, key: str) -> bytes:
        try:
            return self.blobs[key]
        except KeyError:
            raise NotFoundError(f"There is no blob {key}.") from None
