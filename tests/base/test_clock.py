"""Microseconds are kept whole."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sluice.base.clock import from_micros, rfc3339, to_micros

LAST = to_micros(datetime(2200, 1, 1, tzinfo=UTC))


@given(st.integers(0, LAST))
def test_microseconds_come_back_from_their_time(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


def test_no_millisecond_is_lost() -> None:
    at = datetime(2026, 11, 21, 15, 26, 49, tzinfo=UTC)
    for millisecond in range(1000):
        moment = at + timedelta(milliseconds=millisecond)
        assert rfc3339(from_micros(to_micros(moment))).endswith(f".{millisecond:03d}Z")
