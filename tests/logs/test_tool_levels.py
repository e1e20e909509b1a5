"""How grave the lines of common tools are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.logs.levels import Level
from sluice.logs.tool_levels import tool_marks, tool_unmarked
from tests.logs.tool_lines import LINES

Marks = list[tuple[int, int, Level]]

lines = st.lists(
    st.one_of(
        st.sampled_from([line.encode() for line, _ in LINES]),
        st.lists(
            st.sampled_from(
                [
                    b"2024-01-15 10:00:00",
                    b"ERROR",
                    b"[warn]",
                    b"error:",
                    b"main.c:3:5:",
                    b" ",
                    b"x",
                    b"\x1b[31m",
                    b"level=debug",
                    b"\xe2\x9c\x94",
                    b"<3>",
                    b"[",
                    b"]",
                    b"-",
                    b"E: ",
                    b"\r",
                ]
            ),
            max_size=6,
        ).map(b"".join),
    ),
    max_size=12,
)


def marks_one_by_one(texts: list[bytes]) -> Marks:
    marks: Marks = []
    at = 0
    for text in texts:
        marks += [(at, at + len(text), level) for _, _, level in tool_marks(text)]
        at += len(text) + 1
    return marks


@pytest.mark.parametrize(("line", "level"), LINES)
def test_real_lines(line: str, level: Level) -> None:
    text = line.encode()
    expected = [] if level is Level.INFO else [(0, len(text), level)]
    assert tool_marks(text) == expected
    assert tool_unmarked(text) is (level is Level.INFO)


def test_there_are_lines_of_each_level_and_lines_that_only_look_like_it() -> None:
    graded = [level for _, level in LINES]
    assert len(LINES) >= 60
    assert set(graded) == set(Level)
    assert len(set(LINES)) == len(LINES)


def test_real_lines_among_others() -> None:
    texts = [line.encode() for line, _ in LINES]
    text = b"\n".join(texts)
    assert tool_marks(text) == marks_one_by_one(texts)
    assert not tool_unmarked(text)


@given(lines)
def test_a_line_is_as_grave_among_others_as_alone(texts: list[bytes]) -> None:
    text = b"\n".join(texts)
    marks = tool_marks(text)
    assert marks == marks_one_by_one(texts)
    assert tool_unmarked(text) is not bool(marks)


def test_a_text_full_of_likely_lines_is_taken_as_marked() -> None:
    # to look at each would take long, and is done by who shows them anyway
    assert tool_unmarked(b"no error here\n" * 50)
    assert not tool_unmarked(b"no error here\n" * 500)


@pytest.mark.parametrize(
    "text",
    [
        b"level=x " * 100_000,
        b"error " * 100_000,
        b"[" * 500_000 + b"error",
        b"(a" * 200_000 + b"error",
        b"a:" * 200_000 + b" error",
        b"a.b." * 200_000 + b"XError",
        b"\x1b[31m" * 100_000 + b"error",
        b" " * 500_000 + b"error:",
        b"- x - " * 100_000 + b"error",
        b"2024-01-15 " * 50_000 + b"error",
        b"error:\n" * 20_000,
        b'{"level":"x",' * 50_000,
    ],
)
def test_hostile_lines_take_no_longer_than_others(text: bytes) -> None:
    # a pattern that tried again and again would not come back within the hour
    tool_marks(text)
    tool_unmarked(text)
