"""What an upload may be, and what it may not."""

import pytest

from sluice.base.ids import TaskId
from sluice.logs.incoming import (
    BrokenUploadError,
    join_upload,
    split_upload,
    unit_of,
)
from sluice.wire.chunk import (
    UNMARKED,
    Chunk,
    Kind,
    Source,
    encode_chunk,
    event_chunk,
    placed,
)
from sluice.wire.events import End, Note

TASK = TaskId("task-1")


def chunk(offset: int, line: int, data: bytes, source: Source = Source.STDOUT) -> bytes:
    return encode_chunk(Chunk(offset, line, source, Kind.OUTPUT, 0, data))


def test_a_message_is_epoch_offset_and_chunks() -> None:
    assert split_upload(join_upload(3, 77, b"rest")) == (3, 77, b"rest")
    with pytest.raises(BrokenUploadError, match="7 bytes"):
        split_upload(b"too few")
    with pytest.raises(BrokenUploadError):
        split_upload(b"x" * 3_000_000)


def test_consecutive_chunks_are_one_unit() -> None:
    payload = chunk(10, 4, b"a\nb\n") + chunk(14, 6, b"c")
    unit = unit_of(TASK, 2, 10, payload)
    assert unit is not None
    assert (unit.epoch, unit.offset, unit.first_line) == (2, 10, 4)
    assert (unit.end, unit.next_line, len(unit.chunks)) == (15, 6, 2)
    assert unit_of(TASK, 2, 10, b"") is None


def test_chunks_without_a_grave_line_are_marked_as_such() -> None:
    lying = Chunk(9, 2, Source.STDOUT, Kind.OUTPUT, 0, b"Error: no\n", flags=0xFF)
    unit = unit_of(TASK, 1, 0, chunk(0, 1, b"all well\n") + encode_chunk(lying))
    assert unit is not None
    assert [one.flags for one in unit.chunks] == [UNMARKED, 0]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (chunk(11, 4, b"a"), "byte 11"),
        (chunk(10, 4, b"a\n") + chunk(12, 9, b"b"), "line 9 where byte 12, line 5"),
        (chunk(10, 4, b"a\n") + chunk(13, 5, b"b"), "byte 13"),
        (chunk(10, 4, b""), "empty"),
        (chunk(10, 4, b"x", Source.SERVER), "SERVER"),
        (chunk(10, 4, b"x")[:-1] + b"y", "checksum"),
        (b"nonsense", "cut short"),
        (chunk(10, 2**63, b"x"), "cannot be stored"),
        (
            encode_chunk(
                Chunk(10, 4, Source.STDOUT, Kind.OUTPUT, 2**63 - 1, data=b"x")
            ),
            "cannot be stored",
        ),
    ],
)
def test_broken_payloads_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(BrokenUploadError, match=reason):
        unit_of(TASK, 2, 10, payload)


def test_agents_write_events_but_not_the_end() -> None:
    note = event_chunk(Note(), b"hi\n", source=Source.AGENT, captured_us=0)
    assert unit_of(TASK, 1, 0, encode_chunk(note)) is not None
    end = event_chunk(
        End(5, 1, "", "success"), b"x", source=Source.AGENT, captured_us=0
    )
    with pytest.raises(BrokenUploadError, match="`end`"):
        unit_of(TASK, 1, 0, encode_chunk(placed(end, offset=0, first_line=1)))
