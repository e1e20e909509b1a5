"""What logs need: a store for records and chunks, a fast way to append, and blobs."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.logs.model import LogRecord, Outcome, Unit
from sluice.wire.chunk import Chunk


class LogStore(Protocol):
    """Records of logs and their chunk rows, inside the caller's transaction."""

    async def open(self, tx: Tx, task_id: TaskId, *, at: datetime) -> None:
        """Add an empty log under epoch 0; where there is one already, nothing changes."""
        ...

    async def get(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """A log's record."""
        ...

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogRecord | None:
        """Raise the epoch by one; None where the log is unknown or sealed."""
        ...

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> list[LogRecord]:
        """`hand_over` for many; those that are unknown or sealed are left out."""
        ...

    async def put(self, tx: Tx, unit: Unit) -> Outcome:
        """Append a unit inside the caller's transaction, under the same rule as
        `ChunkLane.append_many`.
        """
        ...

    async def read_chunks(
        self, tx: Tx, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``, up to about ``budget``
        bytes; the `end` event counts as standing at the log's length. Empty at the head.
        """
        ...

    async def chunk_at_line(self, tx: Tx, log: LogRecord, line: int) -> Chunk | None:
        """The chunk that holds the newline before line ``line`` (> 1), or, where the log
        has fewer lines, its last chunk with bytes; None where there are no rows.
        """
        ...

    async def seal(self, tx: Tx, log: LogRecord, end: Chunk, *, at: datetime) -> bool:
        """Store the `end` event and close the log; False where it has moved on or is
        sealed already.
        """
        ...

    async def archivable(
        self, tx: Tx, *, sealed_before: datetime, limit: int
    ) -> list[LogRecord]:
        """Logs sealed before then that have no archived object yet, oldest first."""
        ...

    async def set_archived(
        self, tx: Tx, task_id: TaskId, *, blob_key: str, at: datetime
    ) -> None:
        """From now on the object is read instead of the rows."""
        ...

    async def leftovers(self, tx: Tx, limit: int) -> list[TaskId]:
        """Archived logs that still have chunk rows."""
        ...

    async def delete_chunks(self, tx: Tx, task_id: TaskId, limit: int) -> int:
        """Delete up to ``limit`` chunk rows of an archived log; how many there were."""
        ...

    async def remove(self, tx: Tx, task_id: TaskId) -> str | None:
        """Forget a log with its rows; the key of its archived object, for the caller
        to delete, where there is one.
        """
        ...

    async def retire(self, tx: Tx, task_id: TaskId, *, at: datetime) -> bool:
        """Nobody reads an archived log any more: its rows go, its record stays.

        The object is deleted next, and then `forget_object` called. False where the log
        was retired before.
        """
        ...

    async def forget_object(self, tx: Tx, task_id: TaskId) -> bool:
        """The object of a retired log is deleted; False where that was known."""
        ...

    async def drop_days(self, tx: Tx, *, before: int) -> list[int]:
        """Drop whole days before ``before`` whose logs are all archived (PostgreSQL)."""
        ...


class ChunkLane(Protocol):
    """The hot path, beside the callers' transactions: appending and reading chunks."""

    async def append_many(self, units: Sequence[Unit]) -> list[Outcome]:
        """Store each unit whose log stands where the unit says, at most one a log.

        All in one transaction, durable when this returns. A refused unit changes nothing
        and does not touch the others.
        """
        ...

    async def read_chunks(
        self, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """As `LogStore.read_chunks`, of what is committed."""
        ...

    async def tidy(self) -> None:
        """Housekeeping beside the writes (SQLite's checkpoints); called when it fits."""
        ...

    async def close(self) -> None:
        """Give back connections and threads."""
        ...


class BlobPort(Protocol):
    """Where archived logs lie (`blobs.store.Blobs`)."""

    async def put(self, key: str, data: bytes | Path) -> None:
        """Store or replace a blob; readers never see half of it."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``; fewer where the blob ends before."""
        ...

    async def size(self, key: str) -> int:
        """Length of a blob."""
        ...
