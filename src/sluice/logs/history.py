"""Reads a log's past, from chunk rows or from its archived object, never more than asked for."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from sluice.base.errors import GoneError, NotFoundError, UnavailableError
from sluice.base.ids import TaskId
from sluice.base.transactions import Transactions
from sluice.logs.archive import (
    FOOTER_SIZE,
    ArchiveError,
    Entry,
    Index,
    read_footer,
    read_index,
    unpack_chunks,
)
from sluice.logs.model import LogRecord, Position
from sluice.logs.ports import BlobPort, ChunkLane, LogStore
from sluice.wire.chunk import Chunk

PIECE_BYTES = 1024 * 1024
PACKED_BYTES = 512 * 1024
_TAIL_BYTES = 64 * 1024
_INDEXES = 64


class DamagedLogError(UnavailableError):
    """Stored output of a task cannot be read; restore it from a backup."""

    code = "damaged_log"
    title = "Stored output is damaged"


class Packed:
    """Compressed frames that one reader on its way through an archived log will want next.

    They are fetched many blocks at a time: the way to a bucket is long, and compressed
    they are small.
    """

    __slots__ = ("_data", "_key", "_position")

    def __init__(self) -> None:
        self._key = ""
        self._position = 0
        self._data = b""

    def take(self, key: str, position: int, length: int) -> bytes | None:
        """So many bytes of the object from there; None where they are not here."""
        at = position - self._position
        here = key == self._key and at >= 0 and at + length <= len(self._data)
        return self._data[at : at + length] if here else None

    def put(self, key: str, position: int, data: bytes) -> None:
        """Hold these instead."""
        self._key, self._position, self._data = key, position, data


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
            GoneError: it was removed.
        """
        return LogView(self, _readable(await self.record(task_id)))

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

    def known_index(self, key: str) -> Index | None:
        """The index of an archived log, where it was read lately."""
        return self._indexes.get(key)

    def forget(self, key: str) -> None:
        """The object has been written anew."""
        self._indexes.pop(key, None)

    async def frames(
        self, key: str, entries: "list[Entry]", packed: Packed | None = None
    ) -> list[Chunk]:
        """The chunks of consecutive frames of an archived log, from ``packed`` or into it
        where that is given.

        Raises:
            DamagedLogError: a frame is damaged.
        """
        start = entries[0].position
        length = entries[-1].position + entries[-1].length - start
        if packed is None:
            data = await self._blobs.get_range(key, start, length)
        else:
            data = await self._packed(key, start, length, packed)
        try:
            # unpacking and checking need no interpreter lock
            return await asyncio.to_thread(unpack_chunks, data)
        except ArchiveError as error:
            raise _damaged(key, error) from error

    async def _packed(self, key: str, start: int, length: int, packed: Packed) -> bytes:
        data = packed.take(key, start, length)
        if data is not None:
            return data
        # it may reach into the index behind the frames, which does no harm
        data = await self._blobs.get_range(key, start, max(length, PACKED_BYTES))
        packed.put(key, start, data)
        return data[:length]


class LogView:
    """One reader's look at a log; learns by itself when the log has moved to its archive."""

    def __init__(self, history: History, record: LogRecord) -> None:
        self._history = history
        self.record = record

    async def refresh(self) -> LogRecord:
        """Look at the record again."""
        self.record = _readable(await self._history.record(self.record.task_id))
        return self.record

    async def read(
        self, offset: int, budget: int = PIECE_BYTES, packed: Packed | None = None
    ) -> list[Chunk]:
        """Chunks from the one that holds ``offset``, about ``budget`` bytes of them.

        Empty only at the head of a log that has not ended. A reader that goes on and on
        keeps a ``packed`` between its reads.

        Raises:
            DamagedLogError: bytes that were stored are missing.
        """
        for _ in range(2):
            if self.record.archived_at is not None:
                return await self._from_archive(offset, budget, packed)
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

    def line_at(self, offset: int) -> int | None:
        """In which line a byte stands, where that is known without reading."""
        if self.record.archived_at is None:
            return None
        index = self._history.known_index(self.record.blob_key or "")
        return None if index is None else index.line_at(offset)

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``end``, in pieces."""
        at = start
        packed: Packed | None = None
        while at < end:
            chunks = await self.read(at, min(PIECE_BYTES, end - at), packed)
            if not chunks or chunks[-1].end <= at:
                raise DamagedLogError(
                    f"Byte {at} of the log of {self.record.task_id} is missing."
                )
            first = chunks[0].offset
            data = b"".join([chunk.data for chunk in chunks])
            yield data[at - first : end - first]
            at = min(first + len(data), end)
            packed = packed or Packed()

    async def _from_archive(
        self, offset: int, budget: int, packed: Packed | None
    ) -> list[Chunk]:
        key = self.record.blob_key or ""
        index = await self._history.index(key)
        entries = list(index.holding(offset, budget))
        chunks = await self._history.frames(key, entries, packed)
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


def _readable(record: LogRecord) -> LogRecord:
    if record.removed_at is None:
        return record
    raise GoneError(
        f"The output of {record.task_id} was deleted on {record.removed_at:%Y-%m-%d};"
        " logs of scripts are kept for as many days as the server's setting"
        " log_retention_days says."
    )


def _damaged(key: str, error: Exception) -> DamagedLogError:
    return DamagedLogError(f"The archived log {key} cannot be read: {error}.")
