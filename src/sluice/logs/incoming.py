"""Turns an upload's body into a unit to store, or refuses it as not intact."""

import struct

from sluice.base.ids import TaskId
from sluice.logs.grading import flagged
from sluice.logs.lines import event_of
from sluice.logs.model import Unit
from sluice.wire.chunk import (
    MAX_DATA,
    Chunk,
    ChunkError,
    Source,
    decode_chunks,
)
from sluice.wire.events import End

MAX_PAYLOAD = 2 * MAX_DATA
"""An upload carries at most 1 MiB of output; headers and events come on top."""

_PREFIX = struct.Struct("<QQ")
PREFIX_SIZE = _PREFIX.size
_MAX_NUMBER = 2**63 - 1
"""The largest number that the databases take."""
_MAX_CAPTURED_US = 253_402_300_000_000_000
"""A moment before the end of the year 9999, the last that a time can show."""
_WRITERS = frozenset({Source.STDOUT, Source.STDERR, Source.AGENT})


class BrokenUploadError(ValueError):
    """The body is damaged or breaks the rules of a log; nothing of it is stored."""


def split_upload(body: bytes) -> tuple[int, int, bytes]:
    """Epoch, offset and encoded chunks of an upload message.

    Raises:
        BrokenUploadError: it is too short or too long to be one.
    """
    if len(body) < PREFIX_SIZE or len(body) > PREFIX_SIZE + MAX_PAYLOAD:
        raise BrokenUploadError(
            f"{len(body)} bytes, where {PREFIX_SIZE} to {PREFIX_SIZE + MAX_PAYLOAD} can be"
        )
    epoch, offset = _PREFIX.unpack_from(body)
    return epoch, offset, body[PREFIX_SIZE:]


def join_upload(epoch: int, offset: int, payload: bytes) -> bytes:
    """The upload message that `split_upload` takes apart (the agent's side)."""
    return _PREFIX.pack(epoch, offset) + payload


def unit_of(task_id: TaskId, epoch: int, offset: int, payload: bytes) -> Unit | None:
    """The unit an agent's payload stands for; None for a probe.

    Raises:
        BrokenUploadError: a checksum does not fit, chunks do not follow each other, or a
            chunk is none that an agent may write.
    """
    if not payload:
        return None
    try:
        chunks = tuple(decode_chunks(payload))
    except ChunkError as error:
        raise BrokenUploadError(str(error)) from error
    return checked_unit(task_id, epoch, offset, chunks)


def checked_unit(
    task_id: TaskId, epoch: int, offset: int, chunks: tuple[Chunk, ...]
) -> Unit:
    """The same from decoded chunks.

    Raises:
        BrokenUploadError: as for `unit_of`.
    """
    first_line = line = chunks[0].first_line
    at = offset
    known = []
    for chunk in chunks:
        if chunk.offset != at or chunk.first_line != line:
            raise BrokenUploadError(
                f"a chunk at byte {chunk.offset}, line {chunk.first_line}"
                f" where byte {at}, line {line} comes next"
            )
        _refuse_foreign(chunk)
        known.append(flagged(chunk))
        at += len(chunk.data)
        line += chunk.data.count(b"\n")
        if max(at, line) > _MAX_NUMBER or chunk.captured_us > _MAX_CAPTURED_US:
            raise BrokenUploadError("a place or a time that cannot be stored")
    return Unit(task_id, epoch, offset, first_line, at, line, tuple(known))


def _refuse_foreign(chunk: Chunk) -> None:
    if chunk.source not in _WRITERS:
        raise BrokenUploadError(f"a chunk of {chunk.source.name} from an agent")
    if not chunk.data:
        raise BrokenUploadError(f"an empty chunk at byte {chunk.offset}")
    if isinstance(event_of(chunk), End):
        raise BrokenUploadError("an `end` from an agent")
