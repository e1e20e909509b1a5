"""What the newest lines in memory may be, and for whom they are kept."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sluice.logs import ring
from sluice.logs.dialects import Segment
from sluice.logs.ring import RING_BYTES, RING_LINES, Ring, RingBudget


def segments(
    count: int, *, lines: int = 1, size: int = 10, start: int = 0
) -> list[Segment]:
    return [
        Segment(
            at, at + size, 1 + n * lines, 1 + (n + 1) * lines, 0, False, b"x" * size
        )
        for n, at in enumerate(range(start, start + count * size, size))
    ]


def filled(count: int, *, needed: int | None = None, **shape: int) -> Ring:
    kept = Ring(0, RingBudget(1 << 40))
    made = segments(count, **shape)
    kept.extend(made, needed=made[-1].end if needed is None else needed)
    return kept


def test_readers_are_served_from_any_boundary() -> None:
    kept = filled(5)
    assert [one.start for one in kept.after(20, 15)] == [20, 30]
    assert [one.start for one in kept.after(40, 1)] == [40]
    assert kept.after(50, 9) == []
    assert kept.after(25, 9) == []


def test_the_next_boundary_is_where_a_reader_behind_stops() -> None:
    kept = filled(3, start=100)
    assert [kept.boundary(at) for at in (0, 100, 105, 120, 129)] == [
        100,
        110,
        110,
        130,
        130,
    ]
    assert Ring(70, RingBudget(1)).boundary(5) == 70


def test_a_thousand_lines_stay_and_more_only_for_who_still_comes_by() -> None:
    assert filled(5 * RING_LINES).lines == RING_LINES
    assert filled(3, lines=700).lines == 1400
    assert filled(5 * RING_LINES, needed=0).lines == 5 * RING_LINES


def test_never_more_than_a_mebibyte() -> None:
    kept = filled(30, size=100_000, needed=0)
    assert RING_BYTES - 200_000 < kept.size <= RING_BYTES
    assert filled(1, size=2 * RING_BYTES).size == 0


def test_all_rings_share_a_budget() -> None:
    budget = RingBudget(1000)
    first, second = Ring(0, budget), Ring(0, budget)
    first.extend(segments(5), needed=0)
    assert budget.used == first.size == 5 * 160
    second.extend(segments(5), needed=0)
    assert second.size <= 200
    first.clear(50)
    assert (first.start, first.end, first.lines) == (50, 50, 0)
    second.clear(50)
    assert budget.used == 0


def test_older_lines_may_be_put_before() -> None:
    kept = Ring(100, RingBudget(1 << 40))
    kept.extend(segments(1, start=100), needed=100)
    kept.put_before(segments(10))
    assert (kept.start, kept.lines) == (0, 11)
    kept.put_before(segments(2, start=500))
    assert kept.start == 0


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 400)), max_size=60))
def test_the_ring_always_reaches_up_to_its_end(steps: list[tuple[int, int]]) -> None:
    kept = Ring(0, RingBudget(ring.RING_BYTES))
    at = 0
    for count, lines in steps:
        made = segments(count, lines=lines, start=at)
        at = made[-1].end
        kept.extend(made, needed=at)
        assert kept.end == at
        held = kept.after(kept.start, 1 << 40)
        assert sum(one.next_line - one.first_line for one in held) == kept.lines
        assert all(a.end == b.start for a, b in itertools.pairwise(held))
