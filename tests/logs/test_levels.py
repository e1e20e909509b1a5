"""Which lines are how grave."""

import time

import pytest

from sluice.logs.levels import Level, default_level, marked_lines
from sluice.wire.chunk import Source
from sluice.wire.events import AgentLost, Capped, Gap, Note


def level_of(line: str, default: Level = Level.INFO) -> Level:
    marks = marked_lines(line.encode(), default)
    return marks[0][2] if marks else default


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("Error: Invalid reference", Level.ERROR),
        ("│ Error: Invalid reference", Level.ERROR),
        ("\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0mInvalid", Level.ERROR),
        ("│ Warning: Deprecated", Level.WARN),
        ("Warning: Deprecated", Level.WARN),
        ("the last Error: was long ago", Level.INFO),
        ("2025-10-11T19:30:00Z [WARN]  provider: slow", Level.WARN),
        ("2025-10-11T19:30:00Z [ERROR] provider: gone", Level.ERROR),
        ("2025-10-11T19:30:00Z [DEBUG] provider: talk", Level.DEBUG),
        ("2025-10-11T19:30:00Z [TRACE] provider: talk", Level.DEBUG),
        ('time="…" level=error msg=x', Level.ERROR),
        ("level=WARN source=x", Level.WARN),
        ('{"@level":"warn","@message":"x"}', Level.WARN),
        ('{"level": "fatal"}', Level.ERROR),
        ("level=information", Level.INFO),
        ("leveled=error", Level.INFO),
        ("[WARN] level=error", Level.WARN),
        ("aws_instance.error[0]: Creating...", Level.INFO),
    ],
)
def test_marks(line: str, level: Level) -> None:
    assert level_of(line) is level


def test_each_line_has_its_own_mark() -> None:
    text = b"fine\nError: one\n[INFO] level=error\nWarning: two\nfine"
    found = [
        (text[begin:end], level) for begin, end, level in marked_lines(text, Level.INFO)
    ]
    assert found == [(b"Error: one", Level.ERROR), (b"Warning: two", Level.WARN)]
    assert level_of("[INFO] fine", Level.ERROR) is Level.INFO


@pytest.mark.parametrize(
    ("source", "event", "level"),
    [
        (Source.STDOUT, None, Level.INFO),
        (Source.STDERR, None, Level.ERROR),
        (Source.SERVER, Note(), Level.INFO),
        (Source.SERVER, Note(error=True), Level.ERROR),
        (Source.SERVER, AgentLost("a", "l"), Level.ERROR),
        (Source.AGENT, Gap(1, 1, "full"), Level.WARN),
        (Source.AGENT, Capped(1), Level.WARN),
    ],
)
def test_lines_without_a_mark(source: Source, event: Note | None, level: Level) -> None:
    assert default_level(source, event) is level


def test_a_long_line_full_of_marks_takes_linear_time() -> None:
    text = b"level=error " * 400_000
    started = time.process_time()
    assert len(marked_lines(text, Level.INFO)) == 1
    assert time.process_time() - started < 1.0
