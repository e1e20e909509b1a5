"""The wire forms: what a reader gets for any bytes at all."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.logs.dialects import (
    DIALECTS,
    FRAME_BYTES,
    Dialect,
    DialectName,
    segment_of_bytes,
)
from sluice.logs.lines import Run
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.events import Note, Stage, StageBegin, StageEnd, StageOutcome
from sluice.wire.frames import text_messages
from sluice.wire.stream import (
    Batch,
    Completed,
    ErrorLine,
    Output,
    StageMarker,
    decode_frame,
)

NOW_US = 1_760_211_000_123_456
BATCH = DIALECTS[DialectName.BATCH]
LIVE = DIALECTS[DialectName.LIVE]


def run_of(text: bytes, first_line: int = 1, **more: Any) -> Run:
    given_ = {"captured_us": NOW_US, "source": Source.STDOUT, **more}
    next_line = first_line + text.count(b"\n") + 1
    return Run(0, len(text) + 1, first_line, next_line, text=text, **given_)


def messages(dialect: Dialect, runs: Sequence[Run]) -> list[bytes]:
    return list(text_messages(dialect.wrap(dialect.segments(runs))))


@given(st.binary(max_size=200))
def test_batch_has_every_line_of_any_bytes(text: bytes) -> None:
    [message] = messages(BATCH, [run_of(text, 7)])
    frame = decode_frame(message)
    assert isinstance(frame, Batch)
    assert [line[3] for line in frame.lines] == text.decode("utf-8", "replace").split(
        "\n"
    )
    assert (frame.first_line, frame.next_line) == (7, 7 + len(frame.lines))


@given(st.binary(max_size=200))
def test_live_has_one_frame_a_line(text: bytes) -> None:
    frames = [decode_frame(message) for message in messages(LIVE, [run_of(text, 7)])]
    expected = text.decode("utf-8", "replace").split("\n")
    assert [frame.line for frame in frames if isinstance(frame, Output)] == expected
    assert [frame.line_num for frame in frames if isinstance(frame, Output)] == list(
        range(7, 7 + len(expected))
    )


def test_a_line_of_a_batch_says_when_whence_and_how_grave() -> None:
    text = b"fine\nError: no\nfine again"
    [message] = messages(BATCH, [run_of(text)])
    assert json.loads(message)["lines"] == [
        [1760211000123, "stdout", "info", "fine"],
        [1760211000123, "stdout", "error", "Error: no"],
        [1760211000123, "stdout", "info", "fine again"],
    ]


def test_batches_begin_as_the_protocol_says() -> None:
    [message] = messages(BATCH, [run_of(b"x", 3)])
    assert message.startswith(
        b'{"type":"batch","first_line":3,"next_line":4,"lines":[['
    )


def test_live_lines_of_stderr_and_of_the_platform_are_errors() -> None:
    runs = [
        run_of(b"bad", 1, source=Source.STDERR),
        run_of(b"note", 2, source=Source.SERVER, event=Note()),
        run_of(b"lost", 3, source=Source.SERVER, event=Note(error=True)),
    ]
    frames = [decode_frame(message) for message in messages(LIVE, runs)]
    assert frames == [
        ErrorLine("bad", "2025-10-11T19:30:00.123Z", 1),
        Output("note", "2025-10-11T19:30:00.123Z", 2),
        ErrorLine("lost", "2025-10-11T19:30:00.123Z", 3),
    ]


@pytest.mark.parametrize("dialect", [BATCH, LIVE])
def test_markers_stand_alone(dialect: Dialect) -> None:
    begin = StageBegin(Stage.INIT, "plan")
    end = StageEnd(Stage.INIT, "plan", StageOutcome.FAILED)
    runs = [
        run_of(b"a", 1),
        run_of(b"===== INIT BEGIN", 2, event=begin),
        run_of(b"===== INIT END", 3, event=end),
        run_of(b"b", 4),
    ]
    frames = [decode_frame(message) for message in messages(dialect, runs)]
    stamp = "2025-10-11T19:30:00.123Z"
    assert frames[1:3] == [
        StageMarker("===== INIT BEGIN", stamp, 2, "init", "begin"),
        StageMarker("===== INIT END", stamp, 3, "init", "end"),
    ]
    assert len(frames) == 4


def test_runs_share_a_batch_until_it_is_large() -> None:
    piece = b"x" * 999
    runs = [run_of(piece, number) for number in range(1, 401)]
    frames = [decode_frame(message) for message in messages(BATCH, runs)]
    batches = [frame for frame in frames if isinstance(frame, Batch)]
    assert 2 < len(batches) < 10
    assert [
        line for batch in batches for line in range(batch.first_line, batch.next_line)
    ] == (list(range(1, 401)))
    sizes = [len(message) for message in messages(BATCH, runs)]
    assert max(sizes) < FRAME_BYTES + 2000


@given(st.binary(max_size=100))
def test_events_carry_the_same_frames_and_the_last_line_as_id(text: bytes) -> None:
    for plain, wrapped in (
        (DialectName.BATCH, DialectName.BATCH_SSE),
        (DialectName.LIVE, DialectName.LIVE_SSE),
    ):
        run = run_of(text, 5)
        dialect = DIALECTS[wrapped]
        events = dialect.wrap(dialect.segments([run])).decode().split("\n\n")
        assert events.pop() == ""
        heads = [event.split("\n", 1) for event in events]
        data = [rest.removeprefix("data: ").encode() for _, rest in heads]
        assert data == messages(DIALECTS[plain], [run])
        assert heads[-1][0] == f"id: {run.next_line - 1}"


def test_frames_that_are_no_lines() -> None:
    done = Completed("2025-10-11T19:30:00.123Z", "success")
    [message] = text_messages(BATCH.message(done))
    assert decode_frame(message) == done
    event = DIALECTS[DialectName.BATCH_SSE].message(done)
    assert event == b"data: " + message + b"\n\n"


def test_text_is_the_bytes() -> None:
    text = DIALECTS[DialectName.TEXT]
    chunks = [
        Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 0, b"a\xff\n"),
        Chunk(3, 2, Source.STDOUT, Kind.OUTPUT, 0, b"\0\r"),
    ]
    assert text.wrap([segment_of_bytes(chunk) for chunk in chunks]) == b"a\xff\n\0\r"
