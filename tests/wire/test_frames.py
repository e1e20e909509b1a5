"""WebSocket frames: built, taken apart, and cut where pings may come between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.frames import FRAGMENT_BYTES, slices, text_message, text_messages


@pytest.mark.parametrize(
    "size", [0, 1, 125, 126, 65535, 65536, FRAGMENT_BYTES, FRAGMENT_BYTES + 1]
)
def test_every_length_is_framed(size: int) -> None:
    payload = b"x" * size
    assert list(text_messages(text_message(payload))) == [payload]


@given(st.lists(st.integers(0, 70_000), max_size=6), st.integers(1, 100_000))
def test_slices_hold_whole_frames(sizes: list[int], size: int) -> None:
    frames = b"".join(text_message(b"y" * one) for one in sizes)
    pieces = list(slices(frames, size))
    assert b"".join(pieces) == frames
    found = [
        len(message) for piece in pieces for message in text_messages(bytes(piece))
    ]
    assert found == sizes


def test_a_long_message_leaves_room_for_pings() -> None:
    frames = text_message(b"z" * (3 * FRAGMENT_BYTES + 5))
    pieces = list(slices(frames, 1))
    assert len(pieces) == 4
    assert max(map(len, pieces)) <= FRAGMENT_BYTES + 14
