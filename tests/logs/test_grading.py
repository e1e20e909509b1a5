"""How grave the lines of a run are, of Terraform and of scripts."""

from typing import Any

import pytest

from sluice.logs.grading import flagged, graded, parts, plain_level
from sluice.logs.levels import Level
from sluice.logs.lines import Run
from sluice.wire.chunk import UNMARKED, Chunk, Kind, Source
from sluice.wire.events import Note
from sluice.wire.script_mark import ScriptMark, encode_mark

SCRIPT = ScriptMark(process_id=7)


def run_of(text: bytes, **more: Any) -> Run:
    given_ = {"captured_us": 0, "source": Source.STDOUT, **more}
    return Run(0, len(text) + 1, 1, text.count(b"\n") + 2, text=text, **given_)


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({"source": Source.STDERR}, Level.ERROR),
        ({"source": Source.STDERR, "mark": SCRIPT}, Level.INFO),
        ({"source": Source.STDOUT, "mark": SCRIPT}, Level.INFO),
        ({"source": Source.AGENT, "mark": SCRIPT}, Level.INFO),
        ({"source": Source.STDOUT, "mark": ScriptMark(level="WARNING")}, Level.WARN),
        ({"source": Source.STDOUT, "mark": ScriptMark(level="success")}, Level.SUCCESS),
        ({"source": Source.STDERR, "mark": ScriptMark(level="odd")}, Level.INFO),
        ({"event": Note(error=True), "mark": SCRIPT}, Level.ERROR),
        ({"event": Note(), "mark": ScriptMark(level="ERROR")}, Level.INFO),
    ],
)
def test_lines_without_a_mark(more: dict[str, Any], level: Level) -> None:
    assert plain_level(run_of(b"x", **more)) is level


def test_scripts_are_read_as_tools_write_and_terraform_as_terraform_does() -> None:
    text = b"main.c:3:5: error: no\nfine"
    assert graded(run_of(text)) == []
    assert graded(run_of(text, mark=SCRIPT)) == [(0, 21, Level.ERROR)]
    assert graded(run_of(text, mark=SCRIPT, unmarked=True)) == []


def test_what_the_writer_said_counts_whatever_the_text_says() -> None:
    run = run_of(b"ERROR: no\nfine", mark=ScriptMark(level="DEBUG"))
    assert list(parts(run)) == [(0, 14, Level.DEBUG)]


def test_the_parts_of_a_run_are_the_run() -> None:
    text = b"a\nb\nERROR: no\n\nWARN: x\n"
    run = run_of(text, mark=SCRIPT)
    assert [(text[begin:end], level) for begin, end, level in parts(run)] == [
        (b"a\nb", Level.INFO),
        (b"ERROR: no", Level.ERROR),
        (b"", Level.INFO),
        (b"WARN: x", Level.WARN),
        (b"", Level.INFO),
    ]


@pytest.mark.parametrize(
    ("data", "meta", "nothing"),
    [
        (b"fine\n", b"", True),
        (b"Error: no\n", b"", False),
        (b"main.c:3:5: error: no\n", b"", True),
        (b"main.c:3:5: error: no\n", encode_mark(SCRIPT), False),
        (b"no error\n", encode_mark(SCRIPT), True),
        (b"ERROR: no\n", encode_mark(ScriptMark(level="INFO")), True),
    ],
)
def test_chunks_whose_lines_say_nothing(
    data: bytes, meta: bytes, nothing: bool
) -> None:
    chunk = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 0, data, meta)
    assert bool(flagged(chunk).flags & UNMARKED) is nothing
    assert flagged(flagged(chunk)) == flagged(chunk)
