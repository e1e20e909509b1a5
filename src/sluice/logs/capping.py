"""Decides how much of a unit fits into a log with a limit."""

from collections.abc import Iterable

from sluice.logs.model import Unit
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.log_flow import EVENT_ROOM


def fits(chunk: Chunk, limit: int) -> bool:
    """Whether a placed chunk may stand in a log of ``limit`` bytes (0: of any length).

    Events may go a little beyond it, so that a full log still tells its stages.
    """
    if not limit:
        return True
    room = EVENT_ROOM if chunk.kind is Kind.EVENT else 0
    return chunk.end <= limit + room


def first_part(unit: Unit, limit: int) -> Unit | None:
    """The part of a unit before its first chunk that does not fit; None where all fits."""
    chunks = tuple(_fitting(unit.chunks, limit))
    if len(chunks) == len(unit.chunks):
        return None
    last = chunks[-1] if chunks else None
    return Unit(
        unit.task_id,
        unit.epoch,
        unit.offset,
        unit.first_line,
        last.end if last else unit.offset,
        last.next_line if last else unit.first_line,
        chunks,
    )


def _fitting(chunks: Iterable[Chunk], limit: int) -> Iterable[Chunk]:
    for chunk in chunks:
        if not fits(chunk, limit):
            return
        yield chunk
