"""What runs know of a script, however its output is cut and wherever reading begins."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.logs.lines import Assembler
from sluice.logs.model import Position
from sluice.runner.spool_records import cut as spool_cut
from sluice.runner.spool_records import merge_all
from sluice.wire.chunk import Source
from sluice.wire.progress import ProgressState
from sluice.wire.script_mark import ScriptMark
from tests.logs.scripts import (
    PATH,
    Marker,
    cut,
    in_place,
    known_after,
    known_by_line,
    known_of,
    lines,
    note,
    output,
    runs_of,
)

texts = st.tuples(lines.map(b"\n".join), st.sampled_from([b"", b"\n"])).map(b"".join)


@given(texts, st.lists(st.integers(0), max_size=5))
def test_what_is_known_does_not_depend_on_chunks(data: bytes, cuts: list[int]) -> None:
    assert known_by_line(runs_of(in_place(cut(data, cuts)))) == known_after(data)


@given(texts, st.lists(st.integers(0), max_size=5), st.integers(0))
def test_nor_on_where_reading_begins(data: bytes, cuts: list[int], pick: int) -> None:
    starts = [0, *[at + 1 for at, byte in enumerate(data) if byte == 10]]
    at = starts[pick % len(starts)]
    line = data[:at].count(b"\n") + 1
    chunks = [chunk for chunk in in_place(cut(data, cuts)) if chunk.end > at]
    expected = {
        number: known for number, known in known_after(data).items() if number >= line
    }
    assert known_by_line(runs_of(chunks, Position(at, line))) == expected


@given(texts, st.lists(st.integers(0), max_size=5), st.integers(1, 40))
def test_nor_on_how_the_agent_joins_and_cuts_for_the_wire(
    data: bytes, cuts: list[int], length: int
) -> None:
    chunks = in_place(cut(data, cuts))
    assert known_by_line(runs_of(merge_all(chunks, limit=100))) == known_after(data)
    pieces = []
    for chunk in chunks:
        rest = chunk
        while len(rest.data) > length:
            head, rest = spool_cut(rest, length)
            pieces.append(head)
        pieces.append(rest)
    assert pieces == in_place(output(piece.data) for piece in pieces)


def test_a_run_says_which_process_wrote_it() -> None:
    [run] = runs_of(in_place([output(b"a\n")]))
    assert run.mark == ScriptMark(process_id=4711, script_path=PATH)
    [plain] = runs_of([output(b"a\n")])
    assert plain.mark is None


def test_events_know_what_the_output_before_them_said() -> None:
    chunks = in_place(
        [output(b"[2/4] Unpa"), output(b"cking"), note(b"\n[3/4] 99%\nx\n")]
    )
    runs = runs_of(chunks)
    assert known_by_line(runs) == {
        1: (25.0, "Unpacking", 2, 4),
        2: (25.0, "Unpacking", 2, 4),
        3: (25.0, "Unpacking", 2, 4),
    }
    # in the middle of an event, too
    assembler = Assembler(Position(chunks[2].offset + 12, 3))
    assembler.remember(Marker(runs[1].mark).mark)
    assert known_by_line(assembler.feed(chunks[2])) == {3: (25.0, "Unpacking", 2, 4)}


def test_nothing_is_known_of_events_before_any_output() -> None:
    runs = runs_of(in_place([note(b"begin\n"), output(b"[1/2] a\n")]))
    assert [run.mark is None for run in runs] == [True, False]
    assert known_by_line(runs)[1] == known_of(ProgressState())


def test_output_without_a_mark_among_marked_output_says_nothing() -> None:
    first, second = in_place([output(b"[1/2] a\n"), output(b"[2/2] b\n")])
    runs = runs_of([first, replace(second, meta=b"{broken")])
    assert [run.mark is None for run in runs] == [False, True]


def test_a_line_of_two_sources_has_the_mark_of_its_first() -> None:
    chunks = in_place([output(b"[1/2] "), output(b"one\n", Source.STDERR)])
    [run] = runs_of(chunks)
    assert (run.source, run.mark) == (
        Source.STDOUT,
        ScriptMark(process_id=4711, script_path=PATH),
    )
