"""Lines come out once and in order, whatever overlaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.client.cursor import GapError, LineCursor
from sluice.wire.stream import Batch, Completed, Output, StageMarker

AT = "2026-11-21T10:00:00.000Z"


def batch(first: int, last: int) -> Batch:
    lines = [(0, "stdout", "info", str(number)) for number in range(first, last + 1)]
    return Batch(first, last + 1, lines)


@given(
    st.integers(min_value=0, max_value=50),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=40),
)
def test_overlapping_batches_give_each_line_once(
    after: int, steps: list[tuple[int, int]]
) -> None:
    cursor = LineCursor(after)
    seen: list[int] = []
    for back, length in steps:
        first = max(1, (cursor.last or 0) + 1 - back)
        new = cursor.new_in(batch(first, first + length - 1))
        if isinstance(new, Batch):
            assert new.next_line - new.first_line == len(new.lines)
            seen += [int(line[3]) for line in new.lines]
    assert seen == list(range(after + 1, after + 1 + len(seen)))
    assert cursor.last == after + len(seen)


def test_a_batch_behind_the_next_line_is_a_gap_and_takes_nothing() -> None:
    cursor = LineCursor(3)
    with pytest.raises(GapError) as caught:
        cursor.new_in(batch(6, 9))
    assert (caught.value.expected, caught.value.got) == (4, 6)
    assert cursor.last == 3


def test_without_a_position_the_first_line_sets_it() -> None:
    cursor = LineCursor()
    assert cursor.new_in(batch(501, 503)) == batch(501, 503)
    assert cursor.last == 503


def test_single_lines_and_markers_count_as_lines() -> None:
    cursor = LineCursor(0)
    marker = StageMarker("=", AT, 1, "init", "begin")
    assert cursor.new_in(marker) == marker
    assert cursor.new_in(marker) is None
    assert cursor.new_in(Output("x", AT, 2)) is not None
    with pytest.raises(GapError):
        cursor.new_in(Output("y", AT, 4))


def test_frames_without_lines_pass() -> None:
    end = Completed(AT, "success")
    assert LineCursor(7).new_in(end) is end
    assert LineCursor(7).new_in(Batch(8, 8, [])) is None
