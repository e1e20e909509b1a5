"""What stands beside a script's output, wherever it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.chunk import (
    Chunk,
    Kind,
    Source,
    decode_chunk,
    encode_chunk,
    event_chunk,
)
from sluice.wire.events import Note
from sluice.wire.progress import after_text
from sluice.wire.script_mark import (
    ScriptMark,
    decode_mark,
    encode_mark,
    mark_after,
    mark_of,
    meta_after,
)
from tests.wire.test_progress import texts

FULL = ScriptMark(
    progress=28.57,
    step="Unpacking \N{SNOWMAN}",
    current_step=3,
    total_steps=7,
    process_id=4711,
    script_path="/srv/install.sh",
    level="WARN",
    floor="INFO",
    begun=b"half \xff",
)


@pytest.mark.parametrize("mark", [ScriptMark(), FULL])
def test_a_mark_comes_back_as_it_was(mark: ScriptMark) -> None:
    assert decode_mark(encode_mark(mark)) == mark


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"mark":"of later"}',
        b'{"mark":"script","progress":140}',
        b'{"mark":"script","step":7}',
        b"[" * 2000,
    ],
)
def test_what_is_no_mark_is_none(meta: bytes) -> None:
    assert decode_mark(meta) is None
    assert meta_after(meta, b"[3/7] x\n") == meta


def test_a_mark_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert decode_mark(b'{"mark":"script","step":"x","mood":"good"}') == ScriptMark(
        step="x"
    )


def test_a_mark_has_to_find_room_in_the_header() -> None:
    with pytest.raises(ValueError, match="no room"):
        encode_mark(ScriptMark(script_path="x" * 70_000))


def test_a_chunk_carries_its_mark() -> None:
    meta = encode_mark(FULL)
    chunk = Chunk(5, 2, Source.STDERR, Kind.OUTPUT, 9, b"data\n", meta, 1)
    decoded, _ = decode_chunk(encode_chunk(chunk))
    assert decoded == chunk
    assert mark_of(decoded) == FULL
    assert mark_of(Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 0, b"x")) is None
    event = event_chunk(Note(), b"x\n", source=Source.AGENT, captured_us=0)
    assert mark_of(event) is None


@given(texts, st.lists(st.integers(0), max_size=5))
def test_a_mark_moves_on_the_same_however_the_output_is_cut(
    text: bytes, cuts: list[int]
) -> None:
    whole = mark_after(ScriptMark(process_id=7), text)
    ends = sorted({cut % (len(text) + 1) for cut in cuts} | {len(text)})
    mark, at = ScriptMark(process_id=7), 0
    for end in ends:
        mark = mark_after(mark, text[at:end])
        at = end
    assert mark == whole
    last = text.rfind(b"\n")
    lines = after_text(ScriptMark(process_id=7), text[: max(last, 0)])
    assert (mark.progress, mark.step) == (lines.progress, lines.step)
    assert bool(mark.begun) <= (last + 1 < len(text))


def test_the_header_moves_on_with_the_output() -> None:
    meta = meta_after(encode_mark(ScriptMark(process_id=7)), b"[3/7] Unp")
    assert decode_mark(meta) == ScriptMark(process_id=7, begun=b"[3/7] Unp")
    mark = decode_mark(meta_after(meta, b"acking\nnext"))
    assert mark == ScriptMark(
        progress=28.57,
        step="Unpacking",
        current_step=3,
        total_steps=7,
        process_id=7,
        begun=b"next",
    )
