"""Finds out what is known of a script at a place in its log, without reading it from its beginning."""

from collections.abc import Awaitable, Callable

from sluice.logs.lines import Assembler
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.script_mark import ScriptMark, mark_after, mark_of

Read = Callable[[int, int], Awaitable[list[Chunk]]]
"""Chunks from an offset, about so many bytes (`history.LogView.read`)."""

EVENTS = 32
"""So many events in a row are passed over; output says what is known, events do not."""


async def mark_before(read: Read, offset: int) -> ScriptMark | None:
    """What is known at a byte: the mark of the last output before it, and what it says.

    None where no output is near, and for the log of anything but a script.
    """
    between = b""
    for _ in range(EVENTS):
        if offset <= 0:
            return None
        chunks = await read(offset - 1, 1)
        if not chunks:
            return None
        last = chunks[0]
        if last.kind is Kind.OUTPUT:
            mark = mark_of(last)
            if mark is None:
                return None
            return mark_after(mark_after(mark, _until(last, offset)), between)
        between = b"\n" if b"\n" in _until(last, offset) else between
        offset = last.offset
    return None


async def look_back(read: Read, assembler: Assembler, chunks: list[Chunk]) -> None:
    """Tell an assembler what is known where ``chunks`` begin, where they do not say it."""
    if assembler.informed or not chunks or chunks[0].kind is Kind.OUTPUT:
        return
    mark = await mark_before(read, chunks[0].offset)
    if mark is not None:
        assembler.remember(mark)


def _until(chunk: Chunk, offset: int) -> bytes:
    return chunk.data[: offset - chunk.offset]
