"""Records of a spool segment: reading the complete ones, cutting and merging output."""

import os
from collections.abc import Iterator
from pathlib import Path

from sluice.wire.chunk import (
    HEADER_SIZE,
    Chunk,
    ChunkError,
    Kind,
    chunk_size,
    decode_chunk,
)
from sluice.wire.script_mark import meta_after

READ_BYTES = 512 * 1024
MERGE_US = 100_000


class DamagedRecordError(Exception):
    """A record whose header or checksum does not fit: the disk lost or changed bytes."""


def read_records(
    descriptor: int, at: int, *, limit: int = READ_BYTES
) -> tuple[list[Chunk], int]:
    """The complete records from file position ``at`` on, and the position after them.

    Reads about ``limit`` bytes. A record that is not wholly written yet is left for later.

    Raises:
        DamagedRecordError: the first record there is damaged; records before a damaged one
            are returned first.
    """
    buffer = os.pread(descriptor, limit, at)
    if len(buffer) >= HEADER_SIZE:
        needed = _size(buffer, 0)
        if len(buffer) < needed:
            buffer = os.pread(descriptor, needed, at)
    chunks: list[Chunk] = []
    done = 0
    while len(buffer) - done >= HEADER_SIZE:
        try:
            if len(buffer) - done < chunk_size(buffer, done):
                break
            chunk, done = decode_chunk(buffer, done)
        except ChunkError as error:
            if not chunks:
                raise DamagedRecordError(str(error)) from error
            break
        chunks.append(chunk)
    return chunks, at + done


def segment_chunks(path: Path) -> Iterator[Chunk]:
    """All complete records of one segment file.

    Raises:
        FileNotFoundError: there is no such segment.
        DamagedRecordError: as for `read_records`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks, at = read_records(descriptor, 0)
        while chunks:
            yield from chunks
            chunks, at = read_records(descriptor, at)
    finally:
        os.close(descriptor)


def _size(buffer: bytes, at: int) -> int:
    try:
        return chunk_size(buffer, at)
    except ChunkError as error:
        raise DamagedRecordError(str(error)) from error


def cut(chunk: Chunk, length: int) -> tuple[Chunk, Chunk]:
    """A placed output chunk in two, the first of exactly ``length`` bytes."""
    head = _part(chunk, 0, chunk.data[:length])
    return head, _part(chunk, length, chunk.data[length:])


def _part(chunk: Chunk, start: int, data: bytes) -> Chunk:
    return Chunk(
        chunk.offset + start,
        chunk.first_line + chunk.data.count(b"\n", 0, start),
        chunk.source,
        chunk.kind,
        chunk.captured_us,
        data,
        meta_after(chunk.meta, chunk.data[:start]) if start else chunk.meta,
    )


def merge_all(chunks: list[Chunk], *, limit: int) -> list[Chunk]:
    """Adjacent output of one source, captured within a moment, joined up to ``limit``.

    A joined chunk keeps the first one's capture time, so lines that came later than that
    moment are never joined to it.
    """
    merged: list[Chunk] = []
    run: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if run and not (_joins(run[0], chunk) and size + len(chunk.data) <= limit):
            merged.append(_joined(run))
            run, size = [], 0
        run.append(chunk)
        size += len(chunk.data)
    if run:
        merged.append(_joined(run))
    return merged


def _joins(first: Chunk, chunk: Chunk) -> bool:
    return (
        first.kind is Kind.OUTPUT
        and chunk.kind is Kind.OUTPUT
        and first.source is chunk.source
        and 0 <= chunk.captured_us - first.captured_us <= MERGE_US
    )


def _joined(run: list[Chunk]) -> Chunk:
    first = run[0]
    if len(run) == 1:
        return first
    data = b"".join(chunk.data for chunk in run)
    return Chunk(
        first.offset,
        first.first_line,
        first.source,
        first.kind,
        first.captured_us,
        data,
        first.meta,
    )
