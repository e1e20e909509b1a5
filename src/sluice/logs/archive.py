"""The archived form of a log: zstd frames of chunks that can be read one by one, and an index.

Layout: frames, each a zstd frame of about 256 KiB of encoded chunks (`wire.chunk`); then
one skippable zstd frame that holds the compressed index and a footer of fixed size. So
`zstd -d` gives all chunks, and a reader gets any part with the footer, the index and the
frames it asks for.
"""

import bisect
import hashlib
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from sluice.wire.chunk import Chunk, ChunkError, decode_chunks, encode_chunk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME_BYTES = 256 * 1024
LEVEL = 3
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A5E
_ENTRY = struct.Struct("<QQQQI")
# index length, entries, bytes, next line, SHA-256 of the log, version, magic
_FOOTER = struct.Struct("<IIQQ32sI4s")
_VERSION = 1
_MAGIC = b"SLZ1"
FOOTER_SIZE = _FOOTER.size


class ArchiveError(ValueError):
    """The object is no archive of a log, or it is damaged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame: where its first chunk stands in the log, and where it lies itself."""

    offset: int
    first_line: int
    captured_us: int
    position: int
    length: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What stands at an archive's end."""

    index_length: int
    entries: int
    total_bytes: int
    next_line: int
    sha256: str


class Index:
    """Which frame holds which byte and which line."""

    def __init__(self, entries: Sequence[Entry], footer: Footer) -> None:
        self.entries = entries
        self.footer = footer
        self._offsets = [entry.offset for entry in entries]
        self._lines = [entry.first_line for entry in entries]

    def holding(self, offset: int, budget: int) -> Sequence[Entry]:
        """The frames from the one that holds ``offset``, up to about ``budget`` bytes."""
        first = max(bisect.bisect_right(self._offsets, offset) - 1, 0)
        last = max(bisect.bisect_left(self._offsets, offset + budget), first + 1)
        return self.entries[first:last]

    def line_at(self, offset: int) -> int | None:
        """In which line a byte stands, where a frame begins or the log ends there."""
        if offset == self.footer.total_bytes:
            return self.footer.next_line
        at = bisect.bisect_left(self._offsets, offset)
        found = at < len(self._offsets) and self._offsets[at] == offset
        return self._lines[at] if found else None

    def before_line(self, line: int) -> Entry | None:
        """The last frame that begins in an earlier line than ``line``."""
        at = bisect.bisect_left(self._lines, line) - 1
        return self.entries[at] if at >= 0 else None


class ArchiveWriter:
    """Writes an archive to a file; feed it all chunks in order, then finish it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[Entry] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._first: Chunk | None = None
        self._position = 0
        self._end = 0
        self._next_line = 1
        self._hash = hashlib.sha256()

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Append chunks.

        Raises:
            ArchiveError: a chunk does not follow the last one.
        """
        for chunk in chunks:
            if chunk.offset != self._end or chunk.first_line != self._next_line:
                raise ArchiveError(
                    f"a chunk at byte {chunk.offset}, line {chunk.first_line}"
                    f" where byte {self._end}, line {self._next_line} comes next"
                )
            self._hash.update(chunk.data)
            self._end = chunk.end
            self._next_line = chunk.next_line
            self._first = self._first or chunk
            encoded = encode_chunk(chunk)
            self._pending.append(encoded)
            self._pending_bytes += len(encoded)
            if self._pending_bytes >= FRAME_BYTES:
                self._flush()

    def finish(self) -> Footer:
        """Write the index; the footer says what was written."""
        self._flush()
        index = zstd.compress(
            b"".join(
                _ENTRY.pack(
                    entry.offset,
                    entry.first_line,
                    entry.captured_us,
                    entry.position,
                    entry.length,
                )
                for entry in self._entries
            )
        )
        digest = self._hash.digest()
        footer = _FOOTER.pack(
            len(index),
            len(self._entries),
            self._end,
            self._next_line,
            digest,
            _VERSION,
            _MAGIC,
        )
        self._file.write(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(index) + FOOTER_SIZE))
        self._file.write(index + footer)
        return Footer(
            len(index), len(self._entries), self._end, self._next_line, digest.hex()
        )

    def _flush(self) -> None:
        if self._first is None:
            return
        frame = zstd.compress(b"".join(self._pending), LEVEL)
        first = self._first
        self._entries.append(
            Entry(
                first.offset,
                first.first_line,
                first.captured_us,
                self._position,
                len(frame),
            )
        )
        self._file.write(frame)
        self._position += len(frame)
        self._pending, self._pending_bytes, self._first = [], 0, None


def read_footer(tail: bytes) -> Footer:
    """The footer from an archive's last bytes.

    Raises:
        ArchiveError: it is none.
    """
    if len(tail) < FOOTER_SIZE:
        raise ArchiveError("too short for an archive")
    length, entries, total, next_line, digest, version, magic = _FOOTER.unpack(
        tail[-FOOTER_SIZE:]
    )
    if magic != _MAGIC or version != _VERSION:
        raise ArchiveError(f"no archive of version {_VERSION}")
    return Footer(length, entries, total, next_line, digest.hex())


def read_index(packed: bytes, footer: Footer) -> Index:
    """The index from its compressed form.

    Raises:
        ArchiveError: it is damaged.
    """
    try:
        raw = zstd.decompress(packed)
        entries = [Entry(*fields) for fields in _ENTRY.iter_unpack(raw)]
    except (zstd.ZstdError, struct.error) as error:
        raise ArchiveError(f"the index is damaged: {error}") from error
    if len(entries) != footer.entries:
        raise ArchiveError(
            f"the index has {len(entries)} entries, not {footer.entries}"
        )
    return Index(entries, footer)


def unpack_chunks(data: bytes) -> list[Chunk]:
    """The chunks of consecutive frames whose bytes ``data`` is.

    Raises:
        ArchiveError: a frame is damaged.
    """
    try:
        return list(decode_chunks(zstd.decompress(data)))
    except (zstd.ZstdError, ChunkError) as error:
        raise ArchiveError(f"a frame is damaged: {error}") from error
