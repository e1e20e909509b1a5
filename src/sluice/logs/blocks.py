"""Encodes a stretch of a log's past for a reader that is behind."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from sluice.logs.dialects import Dialect, Segment, segment_of_bytes
from sluice.logs.lines import Assembler, Run
from sluice.logs.model import Position
from sluice.wire.chunk import Chunk

BLOCK_BYTES = 512 * 1024

Read = Callable[[int, int], Awaitable[list[Chunk]]]
"""Chunks from an offset, about so many bytes (`history.LogView.read`)."""


async def read_block(
    read: Read, dialect: Dialect, start: Position, *, stop: int, ended: bool
) -> list[Segment]:
    """Segments from ``start``, about 256 KiB, none beyond ``stop``.

    At least one whole line comes, however long it is. ``stop`` is the start of a line,
    or, where the log has ``ended``, its length: then a last line without a newline is
    whole.
    """
    if dialect.by_bytes:
        chunks = await read(start.offset, min(BLOCK_BYTES, stop - start.offset))
        return cut_bytes(chunks, start.offset, stop)
    runs: list[Run] = []
    assembler = Assembler(start)
    while not runs and assembler.head < stop:
        at = assembler.head
        chunks = await read(at, min(BLOCK_BYTES, stop - at))
        for chunk, following in _with_following(chunks):
            if chunk.offset < stop:
                runs += assembler.feed(chunk, following)
        if assembler.head == at:
            break
    if ended and assembler.head >= stop:
        runs += assembler.finish()
    return dialect.segments(_until(runs, stop))


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


def _with_following(chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, int | None]]:
    """Each chunk with the first line of the one behind it: newlines need not be counted."""
    for at, chunk in enumerate(chunks):
        last = at + 1 == len(chunks)
        yield chunk, None if last else chunks[at + 1].first_line


def _until(runs: Sequence[Run], stop: int) -> list[Run]:
    kept = []
    for run in runs:
        if run.start >= stop:
            break
        kept.append(run if run.end <= stop else run.until(stop))
    return kept
