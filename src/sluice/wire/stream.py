"""The frames viewers read, as spec/1 gives them: one message a line, or batches.

In a batch every line is ``[timestamp_ms, source, level, text]``.
"""

from typing import Literal

import msgspec


class Connected(msgspec.Struct, frozen=True, tag="connected", tag_field="type"):
    """The first frame of every stream."""

    task_id: str
    client_id: str
    timestamp: str


class Output(msgspec.Struct, frozen=True, tag="output", tag_field="type"):
    """One line of output, without its newline."""

    line: str
    timestamp: str
    line_num: int


class ErrorLine(msgspec.Struct, frozen=True, tag="error", tag_field="type"):
    """A line of stderr, or an error the platform reports."""

    line: str
    timestamp: str
    line_num: int


class StageMarker(msgspec.Struct, frozen=True, tag="stage_marker", tag_field="type"):
    """A stage begins or ends; the marker is also the line ``line_num``."""

    line: str
    timestamp: str
    line_num: int
    stage: str
    status: Literal["begin", "end"]


class Batch(msgspec.Struct, frozen=True, tag="batch", tag_field="type"):
    """Lines ``first_line`` up to, not including, ``next_line``."""

    first_line: int
    next_line: int
    lines: list[tuple[int, str, str, str]]


class Completed(msgspec.Struct, frozen=True, tag="completed", tag_field="type"):
    """The log's end, with the task's final status; the last frame of every stream."""

    timestamp: str
    status: str


class StreamError(msgspec.Struct, frozen=True, tag="stream_error", tag_field="type"):
    """The stream ends for a reason that is not the task's end (e.g. idle time-out)."""

    code: str
    detail: str


Frame = Connected | Output | ErrorLine | StageMarker | Batch | Completed | StreamError

encode_frame = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def decode_frame(text: str | bytes) -> Frame:
    """A frame from its JSON text.

    Raises:
        msgspec.DecodeError: the text is no frame of spec/1.
    """
    return _decoder.decode(text)
