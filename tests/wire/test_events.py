"""Events in chunk headers."""

import msgspec
import pytest

from sluice.wire.events import Note, decode_event, encode_event


def test_an_event_comes_back() -> None:
    assert decode_event(encode_event(Note("ann", error=True))) == Note(
        "ann", error=True
    )


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"\xff",
        b'{"event":"note","actor":"\xff"}',
        b'{"event":"of a newer agent"}',
        b'{"event":"note","x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_has_one_error(meta: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(meta)
