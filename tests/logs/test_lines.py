"""Lines out of chunks, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.logs import lines
from sluice.logs.lines import Assembler, Run
from sluice.logs.model import Position
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Note, Stage, StageBegin

BEGIN = Position(0, 1)
texts = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xff", b"\xe2\x94\x82", b"bc"]))


def chunked(data: bytes, cuts: list[int]) -> list[Chunk]:
    """The data in chunks that end at ``cuts``."""
    chunks: list[Chunk] = []
    at, line = 0, 1
    for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
        if cut > at:
            chunk = Chunk(at, line, Source.STDOUT, Kind.OUTPUT, at, data[at:cut])
            chunks.append(chunk)
            at, line = chunk.end, chunk.next_line
    return chunks


def fed(chunks: list[Chunk], start: Position = BEGIN) -> list[Run]:
    assembler = Assembler(start)
    runs = [run for chunk in chunks for run in assembler.feed(chunk)]
    return runs + assembler.finish()


def joined(runs: list[Run]) -> list[tuple[int, bytes]]:
    return [
        (number, line)
        for run in runs
        for number, line in enumerate(run.text.split(b"\n"), run.first_line)
    ]


def lines_in(data: bytes) -> list[tuple[int, bytes]]:
    found = data.split(b"\n")
    if not found[-1]:
        found.pop()
    return list(enumerate(found, 1))


@given(texts.map(b"".join), st.lists(st.integers(0)))
def test_lines_do_not_depend_on_chunks(data: bytes, cuts: list[int]) -> None:
    runs = fed(chunked(data, cuts))
    assert joined(runs) == lines_in(data)
    # runs lie end to end and say truly where they are
    at, line = 0, 1
    for run in runs:
        assert (run.start, run.first_line) == (at, line)
        assert data[run.start : run.end].removesuffix(b"\n") == run.text
        at, line = run.end, run.next_line
    assert at == len(data)


@given(texts.map(b"".join), st.lists(st.integers(0)), st.integers(0))
def test_any_line_can_be_the_first(data: bytes, cuts: list[int], pick: int) -> None:
    starts = [0, *[at + 1 for at, byte in enumerate(data) if byte == 10]]
    at = starts[pick % len(starts)]
    line = data[:at].count(b"\n") + 1
    chunks = [chunk for chunk in chunked(data, cuts) if chunk.end > at]
    assert joined(fed(chunks, Position(at, line))) == [
        (number, text) for number, text in lines_in(data) if number >= line
    ]


@given(texts.map(b"".join), st.integers(0))
def test_a_run_can_be_cut_at_any_of_its_lines(data: bytes, pick: int) -> None:
    [run, *_] = fed([Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 0, data + b"\n")])
    starts = [at + 1 for at, byte in enumerate(run.text) if byte == 10]
    if not starts:
        return
    stop = starts[pick % len(starts)]
    part = run.until(stop)
    assert (part.start, part.end) == (run.start, stop)
    assert joined([part]) == joined([run])[: part.next_line - 1]


def test_an_event_ends_the_line_before_it_and_has_its_own() -> None:
    progress = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 1, b"half a bar")
    event = StageBegin(Stage.INIT, "plan")
    marker = event_chunk(event, b"\nINIT BEGIN\n", source=Source.AGENT, captured_us=2)
    runs = fed([progress, placed(marker, offset=10, first_line=1)])
    assert [(run.first_line, run.text, run.event) for run in runs] == [
        (1, b"half a bar", None),
        (2, b"INIT BEGIN", event),
    ]
    assert [run.captured_us for run in runs] == [1, 2]


def test_an_unknown_event_is_a_plain_line() -> None:
    chunk = Chunk(
        0, 1, Source.AGENT, Kind.EVENT, 0, b"new\n", meta=b'{"event":"from_later"}'
    )
    [run] = fed([chunk])
    assert (run.text, run.event) == (b"new", None)


def test_a_line_takes_time_and_source_from_its_first_byte() -> None:
    first = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 5, b"begun ")
    rest = Chunk(6, 1, Source.STDERR, Kind.OUTPUT, 9, b"here\n")
    [run] = fed([first, rest])
    assert (run.text, run.source, run.captured_us) == (b"begun here", Source.STDOUT, 5)


def test_a_gap_is_noticed() -> None:
    assembler = Assembler(Position(0, 1))
    late = Chunk(5, 1, Source.STDOUT, Kind.OUTPUT, 0, b"x")
    with pytest.raises(ValueError, match="bytes 0 to 5"):
        assembler.feed(late)


def test_a_monstrous_line_is_shown_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SHOWN_BYTES", 10)
    runs = fed(chunked(b"0123456789abcdef\nnext\n", [4, 12]))
    assert runs[0].text.startswith(b"0123456789 [6 more bytes")
    assert (runs[0].end, runs[0].next_line) == (17, 2)
    assert joined(runs)[1:] == [(2, b"next")]


def test_notes_may_have_several_lines() -> None:
    note = event_chunk(Note(), b"one\ntwo\n", source=Source.SERVER, captured_us=0)
    assert joined(fed([note])) == [(1, b"one"), (2, b"two")]
