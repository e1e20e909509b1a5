"""Encodes a log's past, block by block, for a reader that is behind."""

from collections.abc import Sequence
from typing import Protocol

from sluice.logs.dialects import Dialect, Segment, segment_of_bytes
from sluice.logs.lines import Assembler, Run
from sluice.logs.look_back import look_back
from sluice.logs.model import Position
from sluice.wire.chunk import Chunk

BLOCK_BYTES = 512 * 1024
KEPT_BYTES = 16 * 1024


class Past(Protocol):
    """Where blocks come from (`lane.ReadAhead`)."""

    async def read(self, offset: int, budget: int) -> list[Chunk]:
        """Chunks from an offset, about so many bytes (`history.LogView.read`)."""
        ...

    def line_at(self, offset: int) -> int | None:
        """In which line a byte stands, where that is known without reading."""
        ...


class Blocks:
    """One reader's way through a log's past.

    The beginning of a line whose end is in the next block is kept: to read it again would
    cost a frame of the archive for a few bytes, and spoil every read ahead.
    """

    __slots__ = ("_dialect", "_kept", "_past")

    def __init__(self, past: Past, dialect: Dialect) -> None:
        self._past = past
        self._dialect = dialect
        self._kept: Assembler | None = None

    def forget(self) -> None:
        """The reader goes on elsewhere."""
        self._kept = None

    async def read(self, start: Position, *, stop: int, ended: bool) -> list[Segment]:
        """Segments from ``start``, about `BLOCK_BYTES`, none beyond ``stop``.

        At least one whole line comes, however long it is. ``stop`` is the start of a
        line, or, where the log has ``ended``, its length: then a last line without a
        newline is whole.
        """
        if self._dialect.by_bytes:
            budget = min(BLOCK_BYTES, stop - start.offset)
            chunks = await self._past.read(start.offset, budget)
            return cut_bytes(chunks, start.offset, stop)
        runs: list[Run] = []
        assembler = self._taken_up(start)
        while not runs and assembler.head < stop:
            at = assembler.head
            chunks = await self._past.read(at, min(BLOCK_BYTES, stop - at))
            if self._dialect.tells_progress:
                await look_back(self._past.read, assembler, chunks)
            for number, chunk in enumerate(chunks):
                if chunk.offset < stop:
                    runs += assembler.feed(chunk, self._following(chunks, number))
            if assembler.head == at:
                break
        if ended and assembler.head >= stop:
            runs += assembler.finish()
        held = assembler.head - assembler.position.offset
        if 0 < held <= KEPT_BYTES and assembler.head < stop:
            self._kept = assembler
        return self._dialect.segments(_until(runs, stop))

    def _taken_up(self, start: Position) -> Assembler:
        """The assembler that stopped there in the middle of a line, or a new one."""
        kept, self._kept = self._kept, None
        return kept if kept is not None and kept.position == start else Assembler(start)

    def _following(self, chunks: Sequence[Chunk], number: int) -> int | None:
        """The line in which the byte after a chunk stands: newlines need not be counted."""
        if number + 1 < len(chunks):
            return chunks[number + 1].first_line
        return self._past.line_at(chunks[number].end)


def cut_bytes(chunks: Sequence[Chunk], start: int, stop: int) -> list[Segment]:
    """The bytes of chunks from ``start`` up to ``stop``, as segments."""
    segments = []
    for chunk in chunks:
        if chunk.end <= start or chunk.offset >= stop:
            continue
        whole = start <= chunk.offset and chunk.end <= stop
        part = chunk if whole else _slice(chunk, start, stop)
        segments.append(segment_of_bytes(part))
    return segments


def _slice(chunk: Chunk, start: int, stop: int) -> Chunk:
    data = chunk.data
    start, stop = max(start, chunk.offset), min(stop, chunk.end)
    before = data.count(b"\n", 0, start - chunk.offset)
    return Chunk(
        start,
        chunk.first_line + before,
        chunk.source,
        chunk.kind,
        chunk.captured_us,
        data[start - chunk.offset : stop - chunk.offset],
        chunk.meta,
        chunk.flags,
    )


def _until(runs: Sequence[Run], stop: int) -> list[Run]:
    kept = []
    for run in runs:
        if run.start >= stop:
            break
        kept.append(run if run.end <= stop else run.until(stop))
    return kept
