"""Archives: what goes in comes out, any part of it by itself, and damage is noticed."""

import io
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.logs import archive
from sluice.logs.archive import (
    FOOTER_SIZE,
    ArchiveError,
    ArchiveWriter,
    Index,
    read_footer,
    read_index,
    unpack_chunks,
)
from sluice.wire.chunk import Chunk, Kind, Source, decode_chunks

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def chunks_of(sizes: list[int], seed: int = 1) -> list[Chunk]:
    rng = random.Random(seed)
    made: list[Chunk] = []
    at, line = 0, 1
    for size in sizes:
        data = bytes(rng.choice(b"ab\n\xff") for _ in range(size))
        chunk = Chunk(at, line, Source.STDOUT, Kind.OUTPUT, 1000 + at, data)
        made.append(chunk)
        at, line = chunk.end, chunk.next_line
    return made


def written(chunks: list[Chunk]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add(chunks)
    writer.finish()
    return file.getvalue()


def index_of(blob: bytes) -> Index:
    footer = read_footer(blob[-FOOTER_SIZE:])
    end = len(blob) - FOOTER_SIZE
    return read_index(blob[end - footer.index_length : end], footer)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.data())
def test_any_part_is_found_by_offset_and_by_line(
    sizes: list[int], data: st.DataObject
) -> None:
    chunks = chunks_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME_BYTES", 500)
        blob = written(chunks)
    index = index_of(blob)
    total = chunks[-1].end
    offset = data.draw(st.integers(0, total - 1))
    budget = data.draw(st.integers(1, 1000))
    entries = list(index.holding(offset, budget))
    first, last = entries[0], entries[-1]
    part = blob[first.position : last.position + last.length]
    found = unpack_chunks(part)
    assert found[0].offset <= offset
    assert found[-1].end >= min(offset + budget, total)
    line = data.draw(st.integers(2, chunks[-1].next_line + 1))
    entry = index.before_line(line)
    assert entry is not None
    part = blob[entry.position : entry.position + entry.length]
    inside = unpack_chunks(part)
    holder = [one for one in inside if one.first_line < line][-1]
    assert holder.next_line >= min(line, chunks[-1].next_line)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_the_index_knows_the_line_where_a_frame_begins(sizes: list[int]) -> None:
    chunks = chunks_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME_BYTES", 500)
        index = index_of(written(chunks))
    begins = {entry.offset for entry in index.entries}
    for chunk in chunks:
        known = index.line_at(chunk.offset)
        assert known == (chunk.first_line if chunk.offset in begins else None)
    assert index.line_at(chunks[-1].end) == chunks[-1].next_line
    assert index.line_at(chunks[-1].end + 1) is None


def test_the_footer_says_what_is_inside() -> None:
    chunks = chunks_of([100, 50])
    footer = read_footer(written(chunks))
    assert (footer.total_bytes, footer.next_line) == (150, chunks[-1].next_line)


def test_the_plain_zstd_program_would_read_all_chunks() -> None:
    chunks = chunks_of([1000] * 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "FRAME_BYTES", 3000)
        blob = written(chunks)
    assert list(decode_chunks(zstd.decompress(blob))) == chunks


def test_an_empty_log_has_an_archive() -> None:
    end = Chunk(0, 1, Source.SERVER, Kind.EVENT, 5, b"", meta=b"{}")
    index = index_of(written([end]))
    assert len(index.holding(0, 100)) == 1
    assert index.before_line(1) is None


def test_a_gap_is_refused() -> None:
    first, _, third = chunks_of([10, 10, 10])
    with pytest.raises(ArchiveError, match="byte 20"):
        written([first, third])


def test_damage_is_noticed_everywhere() -> None:
    blob = written(chunks_of([5000] * 4))
    index = index_of(blob)
    [entry] = index.entries
    for place in range(0, entry.length, 97):
        broken = bytearray(blob[: entry.length])
        broken[place] ^= 0x55
        with pytest.raises(ArchiveError):
            unpack_chunks(bytes(broken))
    with pytest.raises(ArchiveError, match="no archive"):
        read_footer(blob[:-1] + b"?")
    with pytest.raises(ArchiveError, match="too short"):
        read_footer(b"x")
    packed = blob[-FOOTER_SIZE - index.footer.index_length : -FOOTER_SIZE]
    with pytest.raises(ArchiveError, match="damaged"):
        read_index(packed[:-3] + b"abc", index.footer)
