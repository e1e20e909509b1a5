"""Reads a log's past, from chunk rows or from its archived object, never more than asked for."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from sluice.base.errors import NotFoundError, UnavailableError
from sluice.base.ids import TaskId
from sluice.base.transactions import Transactions
from sluice.logs.archive import (
    FOOTER_SIZE,
    ArchiveError,
    Entry,
    Index,
    read_footer,
    read_index,
    unpack_frames,
)
from sluice.logs.model import LogRecord, Position
from sluice.logs.ports import BlobPort, ChunkLane, LogStore
from sluice.wire.chunk import Chunk, ChunkError, decode_chunks

PIECE_BYTES = 1024 * 1024
_TAIL_BYTES = 64 * 1024
_INDEXES = 64


class DamagedLogError(UnavailableError):
    """Stored output of a task cannot be read; restore it from a backup."""

    code = "damaged_log"
    title = "Stored output is damaged"


class History:
    """Opens views of logs."""

    def __init__(
        self,
        transactions: Transactions,
        store: LogStore,
        lane: ChunkLane,
        blobs: BlobPort,
    ) -> None:
        self.transactions = transactions
        self.store = store
        self.lane = lane
        self._blobs = blobs
        self._indexes: OrderedDict[str, Index] = OrderedDict()

    async def record(self, task_id: TaskId) -> LogRecord:
        """A log's record.

        Raises:
            NotFoundError: there is no such log.
        """
        async with self.transactions.read() as tx:
            record = await self.store.get(tx, task_id)
        if record is None:
            raise NotFoundError(f"There is no log of {task_id}.")
        return record

    async def view(self, task_id: TaskId) -> "LogView":
        """A view of a log as it stands now.

        Raises:
            NotFoundError: there is no such log.
        """
        return LogView(self, await self.record(task_id))

    async def index(self, key: str) -> Index:
        """The index of an archived log; the latest few are kept.

        Raises:
            DamagedLogError: the object is no archive.
        """
        known = self._indexes.get(key)
        if known is not None:
            self._indexes.move_to_end(key)
            return known
        size = await self._blobs.size(key)
        start = max(size - _TAIL_BYTES, 0)
        tail = await self._blobs.get_range(key, start, size - start)
        try:
            footer = read_footer(tail)
            missing = footer.index_length + FOOTER_SIZE - len(tail)
            if missing > 0:
                tail = await self._blobs.get_range(key, start - missing, missing) + tail
            end = len(tail) - FOOTER_SIZE
            packed = tail[end - footer.index_length : end]
            index = await asyncio.to_thread(read_index, packed, footer)
        except ArchiveError as error:
            raise _damaged(key, error) from error
        self._indexes[key] = index
        if len(self._indexes) > _INDEXES:
            self._indexes.popitem(last=False)
        return index

    def forget(self, key: str) -> None:
        """The object has been written anew."""
        self._indexes.pop(key, None)

    async def frames(self, key: str, entries: "list[Entry]") -> list[Chunk]:
        """The chunks of consecutive frames of an archived log.

        Raises:
            DamagedLogError: a frame is damaged.
        """
        first, last = entries[0], entries[-1]
        length = last.position + last.length - first.position
        data = await self._blobs.get_range(key, first.position, length)
        try:
            # the thread only unpacks, which needs no interpreter lock
            raw = await asyncio.to_thread(unpack_frames, data)
            return list(decode_chunks(raw))
        except (ArchiveError, ChunkError) as error:
            raise _damaged(key, error) from error


class LogView:
    """One reader's look at a log; learns by itself when the log has moved to its archive."""

    def __init__(self, history: History, record: LogRecord) -> None:
        self._history = history
        self.record = record

    async def refresh(self) -> LogRecord:
        """Look at the record again."""
        self.record = await self._history.record(self.record.task_id)
        return self.record

    async def read(self, offset: int, budget: int = PIECE_BYTES) -> list[Chunk]:
        """Chunks from the one that holds ``offset``, about ``budget`` bytes of them.

        Empty only at the head of a log that has not ended.

        Raises:
            DamagedLogError: bytes that were stored are missing.
        """
        for _ in range(2):
            if self.record.archived_at is not None:
                return await self._from_archive(offset, budget)
            chunks = await self._history.lane.read_chunks(self.record, offset, budget)
            if chunks:
                self._check(chunks[0], offset)
                return chunks
            # the rows may have gone to the archive since we looked
            known = self.record.committed
            record = await self.refresh()
            if record.archived_at is None and offset >= known:
                return []
        raise DamagedLogError(
            f"Byte {offset} of the log of {self.record.task_id} is missing."
        )

    async def locate(self, line: int) -> Position:
        """Where a line begins; a line that is not there yet counts as the last one.

        Raises:
            DamagedLogError: bytes that were stored are missing.
        """
        line = min(line, self.record.next_line)
        if line <= 1:
            return Position(0, 1)
        chunk = await self._chunk_at_line(line)
        at = -1
        for _ in range(line - chunk.first_line):
            at = chunk.data.find(b"\n", at + 1)
            if at < 0:
                raise DamagedLogError(
                    f"Line {line} of the log of {self.record.task_id} is missing."
                )
        return Position(chunk.offset + at + 1, line)

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``end``, in pieces."""
        at = start
        while at < end:
            chunks = await self.read(at, min(PIECE_BYTES, end - at))
            if not chunks or chunks[-1].end <= at:
                raise DamagedLogError(
                    f"Byte {at} of the log of {self.record.task_id} is missing."
                )
            first = chunks[0].offset
            data = b"".join([chunk.data for chunk in chunks])
            yield data[at - first : end - first]
            at = min(first + len(data), end)

    async def _from_archive(self, offset: int, budget: int) -> list[Chunk]:
        key = self.record.blob_key or ""
        index = await self._history.index(key)
        entries = list(index.holding(offset, budget))
        chunks = await self._history.frames(key, entries)
        return [
            chunk for chunk in chunks if chunk.end > offset or chunk.offset == offset
        ]

    async def _chunk_at_line(self, line: int) -> Chunk:
        history = self._history
        if self.record.archived_at is None:
            async with history.transactions.read() as tx:
                chunk = await history.store.chunk_at_line(tx, self.record, line)
            if chunk is not None:
                return chunk
        record = await self.refresh()
        if record.archived_at is not None:
            key = record.blob_key or ""
            entry = (await history.index(key)).before_line(line)
            if entry is not None:
                chunks = await history.frames(key, [entry])
                return next(
                    chunk
                    for chunk in reversed(chunks)
                    if chunk.first_line < line and chunk.data
                )
        raise DamagedLogError(
            f"Line {line} of the log of {self.record.task_id} is missing."
        )

    def _check(self, first: Chunk, offset: int) -> None:
        if first.offset > offset:
            raise DamagedLogError(
                f"Bytes {offset} to {first.offset} of the log of"
                f" {self.record.task_id} are missing."
            )


def _damaged(key: str, error: Exception) -> DamagedLogError:
    return DamagedLogError(f"The archived log {key} cannot be read: {error}.")
