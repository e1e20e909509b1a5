"""What of a spool goes into a log that is full: one `capped` event, then events alone.

The rule is a function of the records and the cap, so that a spool read anew, by another run
of the agent too, gives the same bytes at the same places.
"""

from collections.abc import Iterator

import msgspec

from sluice.runner.spool_files import Place, event_line
from sluice.runner.spool_records import cut
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Capped, Note, StageBegin, StageEnd, capped_line
from sluice.wire.log_flow import Cap

_TOLD = (StageBegin, StageEnd, Note)


def after(chunk: Chunk, here: Place) -> Place:
    """The place behind a placed chunk that stands at ``here``."""
    start = chunk.data.endswith(b"\n") if chunk.data else here.line_start
    return Place(chunk.end, chunk.next_line, start, here.capped)


def within(chunk: Chunk, here: Place, cap: Cap) -> Iterator[tuple[Chunk, Place]]:
    """What a record at ``here`` becomes in the log, each with the place behind it."""
    if here.capped:
        told = _told(chunk, here, cap)
        if told is not None:
            yield told, after(told, here)
        return
    whole = placed(chunk, offset=here.offset, first_line=here.next_line)
    if chunk.kind is Kind.EVENT or whole.end <= cap.at:
        if whole.kind is not Kind.EVENT or whole.end <= cap.room_end:
            yield whole, after(whole, here)
        return
    if here.offset < cap.at:
        first, _ = cut(whole, cap.at - here.offset)
        here = after(first, here)
        yield first, here
    yield _capped(chunk, here, cap)


def _capped(chunk: Chunk, here: Place, cap: Cap) -> tuple[Chunk, Place]:
    """The event that says so; empty where even for that there is no room."""
    event = Capped(cap.limit, here.offset)
    line = event_line(capped_line(event), line_start=here.line_start)
    if here.offset + len(line) > cap.room_end:
        line = b""
    said = event_chunk(event, line, source=Source.AGENT, captured_us=chunk.captured_us)
    said = placed(said, offset=here.offset, first_line=here.next_line)
    behind = after(said, here)
    return said, Place(behind.offset, behind.next_line, behind.line_start, capped=True)


def _told(chunk: Chunk, here: Place, cap: Cap) -> Chunk | None:
    """An event that is told in a full log too, on a line of its own; None for the rest."""
    try:
        if not isinstance(chunk.event, _TOLD):
            return None
    except msgspec.DecodeError:
        return None
    line = event_line(chunk.data.removeprefix(b"\n"), line_start=here.line_start)
    if not line or here.offset + len(line) > cap.room_end:
        return None
    said = Chunk(
        0, 1, chunk.source, chunk.kind, chunk.captured_us, line, chunk.meta, chunk.flags
    )
    return placed(said, offset=here.offset, first_line=here.next_line)
