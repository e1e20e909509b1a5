"""Blocks of a log's past: every byte once, in lines, and none read twice without need."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.logs import blocks
from sluice.logs.blocks import Blocks
from sluice.logs.dialects import DIALECTS, DialectName, Segment
from sluice.logs.model import Position
from sluice.wire.chunk import Chunk, Kind, Source


class Stored:
    """A log of some chunks; knows what was asked of it."""

    def __init__(self, chunks: list[Chunk], *, knows_lines: bool = True) -> None:
        self.chunks = chunks
        self.asked: list[int] = []
        self._lines = {one.offset: one.first_line for one in chunks}
        self._knows_lines = knows_lines

    @property
    def end(self) -> int:
        return self.chunks[-1].end

    async def read(self, offset: int, budget: int) -> list[Chunk]:
        self.asked.append(offset)
        return [
            one
            for one in self.chunks
            if one.end > offset and one.offset < offset + budget
        ]

    def line_at(self, offset: int) -> int | None:
        return self._lines.get(offset) if self._knows_lines else None


def stored(data: bytes, sizes: list[int], *, knows_lines: bool = True) -> Stored:
    chunks: list[Chunk] = []
    at, line = 0, 1
    for size in [*sizes, len(data)]:
        piece = data[at : at + size]
        if piece:
            source = random.Random(at).choice((Source.STDOUT, Source.STDERR))
            chunks.append(Chunk(at, line, source, Kind.OUTPUT, 1000 + at, piece))
            at, line = chunks[-1].end, chunks[-1].next_line
    return Stored(chunks, knows_lines=knows_lines)


async def walk(
    log: Stored, name: DialectName, *, remember: bool = True
) -> list[list[Segment]]:
    """All blocks of an ended log; without ``remember`` each by a reader of its own."""
    way = Blocks(log, DIALECTS[name])
    here = Position(0, 1)
    found: list[list[Segment]] = []
    while here.offset < log.end:
        if not remember:
            way.forget()
        block = await way.read(here, stop=log.end, ended=True)
        assert block[0].start == here.offset
        assert block[0].first_line == here.line or name is DialectName.TEXT
        found.append(block)
        here = Position(block[-1].end, block[-1].next_line)
    return found


def lines_of(found: list[list[Segment]]) -> list[tuple[int, int, int, bytes]]:
    return [
        (one.start, one.first_line, one.captured_us, one.body)
        for block in found
        for one in block
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\xff", b'"']), max_size=300),
    st.lists(st.integers(1, 60), max_size=20),
    st.integers(1, 80),
    st.booleans(),
)
async def test_what_is_kept_between_blocks_changes_nothing(
    parts: list[bytes], sizes: list[int], block: int, knows_lines: bool
) -> None:
    data = b"".join(parts) or b"x"
    log = stored(data, sizes, knows_lines=knows_lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block)
        for name in (DialectName.LIVE, DialectName.BATCH):
            kept = await walk(log, name)
            assert lines_of(kept) == lines_of(await walk(log, name, remember=False))
        text = await walk(log, DialectName.TEXT)
        assert b"".join(one.body for found in text for one in found) == data


async def test_a_line_across_blocks_is_not_read_again() -> None:
    data = b"".join(b"line %06d\n" % number for number in range(1000))
    log = stored(data, [130] * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 500)
        await walk(log, DialectName.BATCH)
    ends = {one.end for one in log.chunks}
    assert set(log.asked) - {0} <= ends
    assert log.asked == sorted(set(log.asked))


async def test_a_long_beginning_of_a_line_is_not_kept() -> None:
    long = b"first\n" + b"x" * 3 * blocks.KEPT_BYTES + b"\nlast\n"
    log = stored(long, [2 * blocks.KEPT_BYTES] * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 100)
        found = lines_of(await walk(log, DialectName.BATCH))
    assert log.asked.count(len(b"first\n")) == 1
    assert [line for _, line, _, _ in found] == [1, 2, 3]


async def test_a_reader_that_jumps_gets_what_is_there() -> None:
    data = b"".join(b"line %06d\n" % number for number in range(100))
    log = stored(data, [130] * 10)
    way = Blocks(log, DIALECTS[DialectName.BATCH])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 300)
        await way.read(Position(0, 1), stop=log.end, ended=True)
        [first, *_] = await way.read(Position(60, 6), stop=log.end, ended=True)
    assert (first.start, first.first_line) == (60, 6)
    assert b"line 000005" in first.body
