"""The unit of a log: consecutive masked bytes from one source, with a small header.

The same encoding is used in the agent's spool, on the wire and in archives.
All integers are little-endian; the CRC is zlib's CRC-32 over header metadata and data.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from sluice.wire.events import Event, decode_event, encode_event

MAGIC = 0x5C1C
MAX_LIVE = 64 * 1024
MAX_CATCH_UP = 256 * 1024
MAX_DATA = 1024 * 1024

UNMARKED = 1
"""Flag: no line of the chunk says how grave it is; found out once, by the server."""

_HEADER = struct.Struct("<HBBHHIQQQI")
HEADER_SIZE = _HEADER.size


class Source(IntEnum):
    """Who wrote the bytes."""

    STDOUT = 1
    STDERR = 2
    AGENT = 3
    SERVER = 4


class Kind(IntEnum):
    """Output as the process wrote it, or an event of the platform."""

    OUTPUT = 0
    EVENT = 1


class ChunkError(ValueError):
    """Bytes that are no chunk, or a chunk whose checksum does not fit."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive bytes of one source at one place in a task's log.

    Attributes:
        offset: byte offset of the first byte in the task's log.
        first_line: number (from 1) of the line in which the first byte stands.
        source: who wrote it.
        kind: output or event.
        captured_us: capture time, microseconds since 1970 UTC.
        data: the bytes, already masked; empty only for the `end` event.
        meta: the event as JSON; of a script's output its mark (`script_mark`); else empty.
        flags: what is known of the bytes beforehand (`UNMARKED`); readers may ignore it.
    """

    offset: int
    first_line: int
    source: Source
    kind: Kind
    captured_us: int
    data: bytes
    meta: bytes = b""
    flags: int = 0

    @property
    def end(self) -> int:
        """Byte offset just after the last byte."""
        return self.offset + len(self.data)

    @property
    def newlines(self) -> int:
        """How many lines end inside this chunk."""
        return self.data.count(b"\n")

    @property
    def next_line(self) -> int:
        """Number of the line in which the byte after this chunk stands."""
        return self.first_line + self.data.count(b"\n")

    @property
    def event(self) -> Event | None:
        """The event this chunk carries, or None for output."""
        return decode_event(self.meta) if self.kind is Kind.EVENT else None

    def crc(self) -> int:
        """CRC-32 over metadata and data."""
        return zlib.crc32(self.data, zlib.crc32(self.meta))


def event_chunk(
    event: Event, line: bytes, *, source: Source, captured_us: int
) -> Chunk:
    """An event with the line a person reads; its place in the log is set by `placed`."""
    return Chunk(
        0, 1, source, Kind.EVENT, captured_us, data=line, meta=encode_event(event)
    )


def placed(chunk: Chunk, *, offset: int, first_line: int) -> Chunk:
    """The same chunk at another place in the log."""
    return Chunk(
        offset,
        first_line,
        chunk.source,
        chunk.kind,
        chunk.captured_us,
        chunk.data,
        chunk.meta,
        chunk.flags,
    )


def encode_chunk(chunk: Chunk) -> bytes:
    """Header, metadata and data as bytes."""
    header = _HEADER.pack(
        MAGIC,
        chunk.kind,
        chunk.source,
        len(chunk.meta),
        chunk.flags,
        len(chunk.data),
        chunk.offset,
        chunk.first_line,
        chunk.captured_us,
        chunk.crc(),
    )
    return header + chunk.meta + chunk.data


def chunk_size(header: bytes, at: int = 0) -> int:
    """Full encoded length of the chunk whose header begins at ``at``.

    Raises:
        ChunkError: there is no chunk header at that place.
    """
    magic, _, _, meta_len, _, data_len, *_ = _unpack(header, at)
    if magic != MAGIC or data_len > MAX_DATA:
        raise ChunkError(f"no chunk at byte {at}: magic {magic:#06x}, {data_len} bytes")
    return HEADER_SIZE + int(meta_len) + int(data_len)


def decode_chunk(buffer: bytes, at: int = 0) -> tuple[Chunk, int]:
    """The chunk at ``at`` and the position after it.

    Raises:
        ChunkError: too few bytes, no chunk, or a checksum that does not fit.
    """
    end = at + chunk_size(buffer, at)
    header = _unpack(buffer, at)
    _, kind, source, meta_len, flags, _, offset, line, captured, crc = header
    if len(buffer) < end:
        raise ChunkError(f"chunk at byte {at} is cut short")
    body = at + HEADER_SIZE
    meta = bytes(buffer[body : body + meta_len])
    data = bytes(buffer[body + meta_len : end])
    try:
        chunk = Chunk(
            offset, line, Source(source), Kind(kind), captured, data, meta, flags
        )
    except ValueError as error:
        raise ChunkError(f"chunk at byte {at}: {error}") from error
    if chunk.crc() != crc:
        raise ChunkError(f"chunk at byte {at}: checksum does not fit")
    return chunk, end


def decode_chunks(buffer: bytes) -> Iterator[Chunk]:
    """All chunks of a buffer that holds nothing else.

    Raises:
        ChunkError: as for `decode_chunk`.
    """
    at = 0
    while at < len(buffer):
        chunk, at = decode_chunk(buffer, at)
        yield chunk


def _unpack(buffer: bytes, at: int) -> tuple[int, ...]:
    if len(buffer) - at < HEADER_SIZE:
        raise ChunkError(f"chunk header at byte {at} is cut short")
    return _HEADER.unpack_from(buffer, at)
