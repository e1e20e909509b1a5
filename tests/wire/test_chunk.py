"""The unit of a log: encoded, decoded, and refused when damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.chunk import (
    HEADER_SIZE,
    Chunk,
    ChunkError,
    Kind,
    Source,
    chunk_size,
    decode_chunk,
    decode_chunks,
    encode_chunk,
    event_chunk,
    placed,
)
from sluice.wire.events import Note

chunks = st.builds(
    Chunk,
    offset=st.integers(0, 2**63 - 1),
    first_line=st.integers(1, 2**63 - 1),
    source=st.sampled_from(Source),
    kind=st.just(Kind.OUTPUT),
    captured_us=st.integers(0, 2**63 - 1),
    data=st.binary(max_size=300),
)


@given(st.lists(chunks, max_size=5))
def test_what_is_encoded_is_decoded(given_chunks: list[Chunk]) -> None:
    encoded = b"".join(map(encode_chunk, given_chunks))
    assert list(decode_chunks(encoded)) == given_chunks


@given(chunks, st.integers(0), st.integers(1, 255))
def test_a_flipped_bit_in_the_body_is_noticed(
    chunk: Chunk, place: int, flip: int
) -> None:
    encoded = bytearray(encode_chunk(chunk))
    if len(encoded) == HEADER_SIZE:
        return
    encoded[HEADER_SIZE + place % (len(encoded) - HEADER_SIZE)] ^= flip
    with pytest.raises(ChunkError, match="checksum"):
        decode_chunk(bytes(encoded))


@given(chunks, st.integers(1))
def test_a_cut_is_noticed(chunk: Chunk, cut: int) -> None:
    encoded = encode_chunk(chunk)
    with pytest.raises(ChunkError, match="cut short"):
        decode_chunk(encoded[: len(encoded) - 1 - cut % len(encoded)])


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises(ChunkError, match="no chunk at byte 0"):
        chunk_size(b"\0" * HEADER_SIZE)


def test_lines_and_ends_are_counted() -> None:
    chunk = Chunk(10, 3, Source.STDOUT, Kind.OUTPUT, 0, b"a\nb\nc")
    assert (chunk.end, chunk.newlines, chunk.next_line) == (15, 2, 5)


def test_an_event_comes_back_and_output_has_none() -> None:
    chunk = event_chunk(Note("ada"), b"hello\n", source=Source.SERVER, captured_us=7)
    there = placed(chunk, offset=100, first_line=4)
    [back] = decode_chunks(encode_chunk(there))
    assert back.event == Note("ada")
    assert (back.offset, back.first_line, back.data) == (100, 4, b"hello\n")
    assert Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 0, b"x").event is None
