"""Where a stream is cut: behind newlines, never inside a character, never losing a byte."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.runner.line_cutter import LineCutter, before_character
from sluice.wire.chunk import MAX_CATCH_UP, MAX_LIVE


@given(st.lists(st.binary(max_size=200)))
def test_every_byte_comes_out_once_and_in_order(blocks: list[bytes]) -> None:
    cutter = LineCutter()
    pieces = [piece for block in blocks for piece in cutter.add(block)]
    assert all(piece.endswith(b"\n") for piece in pieces)
    pieces += cutter.flush()
    assert b"".join(pieces) == b"".join(blocks)
    assert not cutter.pending


def test_an_unfinished_line_waits_for_its_end() -> None:
    cutter = LineCutter()
    assert cutter.add(b"one\ntw") == [b"one\n"]
    assert cutter.pending
    assert cutter.add(b"o\n") == [b"two\n"]
    assert not cutter.pending


def test_a_long_line_does_not_wait() -> None:
    cutter = LineCutter()
    assert cutter.add(b"x" * MAX_LIVE) == []
    assert cutter.add(b"x") == [b"x" * (MAX_LIVE + 1)]


def test_pieces_are_bounded_and_cut_at_newlines() -> None:
    data = b"0123456789abcdef\n" * (3 * MAX_CATCH_UP // 17)
    pieces = LineCutter().add(data)
    assert b"".join(pieces) == data
    assert len(pieces) == 3
    assert all(len(p) <= MAX_CATCH_UP and p.endswith(b"\n") for p in pieces)
    long_line = LineCutter().add(b"x" * (2 * MAX_CATCH_UP + 5))
    assert [len(piece) for piece in long_line] == [MAX_CATCH_UP, MAX_CATCH_UP, 5]


def test_a_forced_cut_spares_characters() -> None:
    for char in ("é", "€", "😀"):
        cutter = LineCutter()
        encoded = char.encode()
        for split in range(1, len(encoded)):
            line = b"x" * MAX_LIVE + encoded[:split]
            first = cutter.add(line)
            assert b"".join(first) == b"x" * MAX_LIVE
            rest = cutter.add(encoded[split:] + b"\n")
            assert b"".join(rest) == encoded + b"\n"


@given(st.text(min_size=1), st.integers(0, 400))
def test_cuts_of_text_are_text(text: str, end: int) -> None:
    data = text.encode()
    end = min(end, len(data))
    cut = before_character(data, end)
    assert end - 4 < cut <= end
    if cut:
        data[:cut].decode()


@given(st.binary(min_size=1, max_size=30))
def test_bytes_that_are_no_text_are_cut_close_by(data: bytes) -> None:
    assert len(data) - 4 < before_character(data, len(data)) <= len(data)
