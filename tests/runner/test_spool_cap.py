"""A spool whose log is full: output up to the limit, one event that says so, then events."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.runner.spool import SpoolReader
from sluice.wire.agent import LogPosition
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.events import Capped, Gap, Note, Progress, Stage, StageBegin
from sluice.wire.log_flow import EVENT_ROOM, Cap, capped
from tests.runner.test_spool import (
    assert_consecutive,
    bytes_of,
    drain,
    output,
    writer_on,
)

BASE = LogPosition(epoch=3, offset=1000, next_line=41)
BEGIN = StageBegin(Stage.APPLYING, "apply")


def spool(directory: Path) -> None:
    writer = writer_on(directory, segment_bytes=4096)
    writer.event(BEGIN, b"begin\n")
    for number in range(100):
        writer.append([output(b"line %03d\n" % number)])
    writer.event(Note(), b"in between\n")
    writer.append([output(b"no newline")])
    writer.event(Gap(1, 0, "a gap"), b"gap\n")
    writer.event(Progress(1, 2), b"progress\n")
    writer.event(BEGIN, b"end\n")
    writer.close()


def test_output_ends_at_the_limit_and_events_go_on(tmp_path: Path) -> None:
    spool(tmp_path)
    reader = SpoolReader(tmp_path, BASE)
    reader.refresh()
    reader.cap(limit=1050, committed=1000)
    chunks = drain(reader)
    assert_consecutive(chunks, 1000, 41)
    told = Capped(1050, 1050)
    assert [chunk.event for chunk in chunks if chunk.kind is Kind.EVENT] == [
        BEGIN,
        told,
        Note(),
        BEGIN,
    ]
    text = bytes_of(chunks).decode()
    # cut in the middle of a line, and on with a line of its own
    assert text.startswith("begin\n" + "".join(f"line {n:03d}\n" for n in range(4)))
    assert "line 004\n===== output from byte 1050 of this log on is not stored" in text
    assert text.endswith("=====\nin between\nend\n")
    end = reader.log_end()
    assert (end.offset, end.sha256) == (reader.end, None)
    assert end.next_line == 41 + text.count("\n")


@pytest.mark.parametrize("committed", [1000, 1006, 1033, 1050])
def test_the_same_bytes_from_wherever_it_goes_on(
    tmp_path: Path, committed: int
) -> None:
    spool(tmp_path)
    first = SpoolReader(tmp_path, BASE)
    whole = 1000 + len(bytes_of(drain(first)))
    first.cap(limit=1050, committed=committed)
    behind = drain(first)
    assert behind[0].offset == committed
    assert first.end < whole
    # said again, to another run of the agent, and from the beginning
    again = SpoolReader(tmp_path, BASE)
    again.cap(limit=1050, committed=committed)
    again.seek(1000)
    text = bytes_of(drain(again))
    assert text[committed - 1000 :] == bytes_of(behind)


def test_a_phase_that_begins_in_a_full_log_says_so_and_its_stages(
    tmp_path: Path,
) -> None:
    spool(tmp_path)
    reader = SpoolReader(tmp_path, BASE)
    reader.cap(limit=500, committed=1006)
    chunks = drain(reader)
    assert chunks[0].event == Capped(500, 1006)
    assert bytes_of(chunks[1:]) == b"in between\nend\n"


def test_where_there_is_no_room_nothing_is_said(tmp_path: Path) -> None:
    spool(tmp_path)
    base = LogPosition(epoch=3, offset=EVENT_ROOM, next_line=41)
    reader = SpoolReader(tmp_path, base)
    reader.cap(limit=1, committed=EVENT_ROOM)
    assert drain(reader) == []
    assert reader.end == EVENT_ROOM


def test_segments_of_dropped_output_are_let_go(tmp_path: Path) -> None:
    writer = writer_on(tmp_path, segment_bytes=4096)
    reader = SpoolReader(tmp_path, BASE)
    writer.append([output(b"x" * 2000)])
    reader.refresh()
    reader.cap(limit=1100, committed=1000)
    for _ in range(50):
        writer.append([output(b"y" * 2000)])
        reader.refresh()
    acked = reader.end
    reader.read(10_000)
    reader.release(acked)
    assert reader._cursor.segment >= 20
    assert acked == reader.end
    # another run of the agent knows it too
    again = SpoolReader(tmp_path, BASE)
    assert again.capped
    again.refresh()
    assert again.end == acked


def test_much_dropped_output_is_read_in_turns(tmp_path: Path) -> None:
    writer = writer_on(tmp_path, segment_bytes=4096)
    reader = SpoolReader(tmp_path, BASE)
    for _ in range(100):
        writer.append([output(b"y" * 4000)])
    reader.refresh()
    reader.cap(limit=1100, committed=1000)
    turns = 1
    reader.refresh()
    while reader.behind:
        reader.refresh()
        turns += 1
    assert turns > 2


def test_the_cap_is_said_again_and_lowered() -> None:
    first = capped(None, limit=100, committed=40)
    assert first == Cap(100, 100, 100 + EVENT_ROOM)
    assert capped(first, limit=100, committed=120) == first
    assert capped(first, limit=200, committed=120) == first
    lower = capped(first, limit=10, committed=300)
    assert lower == Cap(100, 100, 10 + EVENT_ROOM)


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=30).map(lambda data: ("out", data)),
            st.just(("note", b"note\n")),
        ),
        max_size=30,
    ),
    limit=st.integers(0, 400),
    turns=st.lists(st.integers(1, 40), max_size=10),
)
def test_whatever_is_read_again_stands_where_it_stood(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[str, bytes]],
    limit: int,
    turns: list[int],
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    writer = writer_on(directory, segment_bytes=200)
    for kind, data in pieces:
        if kind == "note":
            writer.event(Note(), data)
        else:
            writer.append([output(data)])
    writer.close()
    base = LogPosition(epoch=1, offset=0, next_line=1)
    reader = SpoolReader(directory, base)
    reader.cap(limit=limit, committed=0)
    chunks = drain(reader)
    text = bytes_of(chunks)
    assert_consecutive(chunks, 0, 1)
    assert max((c.end for c in chunks if c.kind is Kind.OUTPUT), default=0) <= limit
    said = [c for c in chunks if isinstance(c.event, Capped)]
    assert len(said) <= 1
    for at in turns:
        to = _boundary(chunks, min(at * 10, len(text)))
        reader.seek(to)
        assert bytes_of(drain(reader)) == text[to:]
    reader.close()


def _boundary(chunks: list[Chunk], wanted: int) -> int:
    """Where a server may stand: between chunks."""
    return max((c.offset for c in chunks if c.offset <= wanted), default=0)
