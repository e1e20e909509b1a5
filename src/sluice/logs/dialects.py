"""The wire forms of a log, as pure functions from runs of lines to bytes, in one table.

Each run is encoded once (a segment); segments are wrapped to payloads, and a payload is
written as it is to every reader at its place. Invalid UTF-8 becomes U+FFFD here only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from sluice.base.clock import from_micros, rfc3339
from sluice.logs.grading import graded, plain_level
from sluice.logs.levels import PLAIN_NAMES, Level
from sluice.logs.lines import Run
from sluice.logs.script_dialects import (
    agent_body,
    install_body,
    install_message,
    script_body,
)
from sluice.wire.chunk import Chunk, Source
from sluice.wire.events import Note, StageBegin, StageEnd
from sluice.wire.frames import text_message, text_message_pieces
from sluice.wire.stream import Frame, StageMarker, encode_frame

FRAME_BYTES = 128 * 1024
"""A batch takes no more runs once it is as large as this."""

_encode = msgspec.json.Encoder().encode
_NAMES = {source: source.name.lower() for source in Source}
_NEWLINE_STANDIN = b"\x7f"


class DialectName(StrEnum):
    """The forms a reader can ask for."""

    BATCH = "batch"
    LIVE = "live"
    BATCH_SSE = "batch_sse"
    LIVE_SSE = "live_sse"
    INSTALL = "install"
    AGENT = "agent"
    SCRIPT = "script"
    TEXT = "text"


class Segment(msgspec.Struct, frozen=True, gc=False):
    """The encoded form of the bytes from ``start`` to ``end``; ``alone`` keeps it out of
    batches.
    """

    start: int
    end: int
    first_line: int
    next_line: int
    captured_us: int
    alone: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire form.

    Attributes:
        name: how readers ask for it.
        encode: the body of a run of a task's log.
        wrap: a payload of consecutive segments.
        message: a payload of one frame that is no line (`connected`, `completed`).
        by_bytes: whether segments are made of chunks as they come, lines or not.
        tells_progress: whether an event's lines say what is known where they stand.
        task_id: whose log it is, for those whose lines say it.
    """

    name: DialectName
    encode: Callable[[Run, str], bytes]
    wrap: Callable[[Sequence[Segment]], bytes]
    message: Callable[[Frame], bytes]
    by_bytes: bool = False
    tells_progress: bool = False
    task_id: str = ""

    def of(self, task_id: str) -> "Dialect":
        """The same for a task's log."""
        return replace(self, task_id=task_id)

    def segments(self, runs: Sequence[Run]) -> list[Segment]:
        """The segments of runs (of a dialect of lines)."""
        return [
            Segment(
                run.start,
                run.end,
                run.first_line,
                run.next_line,
                run.captured_us,
                _is_marker(run),
                self.encode(run, self.task_id),
            )
            for run in runs
        ]


def segment_of_bytes(chunk: Chunk) -> Segment:
    """A segment of a chunk's bytes as they are."""
    next_line = chunk.next_line
    return Segment(
        chunk.offset,
        chunk.end,
        chunk.first_line,
        next_line,
        chunk.captured_us,
        False,
        chunk.data,
    )


# --- text on the wire -------------------------------------------------------


def _sse(payload: bytes, line: int | None) -> bytes:
    """One server-sent event; JSON has no raw newline, so it is one `data` line."""
    head = b"" if line is None else b"id: %d\n" % line
    return b"%bdata: %b\n\n" % (head, payload)


# --- batch ------------------------------------------------------------------


def _batch_body(run: Run, _: str) -> bytes:
    if _is_marker(run):
        return _marker(run)
    text = run.text
    level = plain_level(run)
    marks = graded(run)
    if not marks:
        return _batch_lines(run, text, level)
    bodies = []
    at = 0
    for begin, end, marked in marks:
        if begin > at:
            bodies.append(_batch_lines(run, text[at : begin - 1], level))
        bodies.append(_batch_lines(run, text[begin:end], marked))
        at = end + 1
    if at <= len(text):
        bodies.append(_batch_lines(run, text[at:], level))
    return b",".join(bodies)


def _batch_lines(run: Run, text: bytes, level: Level) -> bytes:
    """`[ts,"source","level","line"],…`: the whole text is escaped as one JSON string, and
    what stands for newlines in it is replaced by what stands between two lines.
    """
    milliseconds = run.captured_us // 1000
    head = f'[{milliseconds},"{_NAMES[run.source]}","{PLAIN_NAMES[level]}",'.encode()
    if _NEWLINE_STANDIN in text:
        between = b"]," + head
        lines = text.decode("utf-8", "replace").split("\n")
        return head + between.join(map(_encode, lines)) + b"]"
    between = b'"],' + head + b'"'
    marked = text.replace(b"\n", _NEWLINE_STANDIN).decode("utf-8", "replace")
    return b"".join((head, _encode(marked).replace(_NEWLINE_STANDIN, between), b"]"))


def _batches(segments: Sequence[Segment]) -> Iterator[tuple[list[bytes], int]]:
    """Frames of segments in order, in pieces, each with the number of its last line."""
    at = 0
    while at < len(segments):
        first = segments[at]
        if first.alone:
            yield [first.body], first.next_line - 1
            at += 1
            continue
        # its place is kept for the head, which says how far the frame reaches
        pieces = [b""]
        size = 0
        while at < len(segments) and not segments[at].alone and size < FRAME_BYTES:
            pieces += (segments[at].body, b",")
            size += len(segments[at].body)
            at += 1
        following = segments[at - 1].next_line
        pieces[0] = b'{"type":"batch","first_line":%d,"next_line":%d,"lines":[' % (
            first.first_line,
            following,
        )
        pieces[-1] = b"]}"
        yield pieces, following - 1


def _wrap_batch(segments: Sequence[Segment]) -> bytes:
    return b"".join(
        piece
        for pieces, _ in _batches(segments)
        for piece in text_message_pieces(pieces)
    )


def _wrap_batch_sse(segments: Sequence[Segment]) -> bytes:
    return b"".join(_sse(b"".join(pieces), line) for pieces, line in _batches(segments))


# --- live -------------------------------------------------------------------


def _live_frames(run: Run) -> Iterator[tuple[bytes, int]]:
    """Frames of one line each, with the line's number."""
    if _is_marker(run):
        yield _marker(run), run.first_line
        return
    at = f'","timestamp":"{rfc3339(from_micros(run.captured_us))}","line_num":'.encode()
    head = b'{"type":"%b","line":"' % (b"error" if _is_error(run) else b"output")
    text = run.text.decode("utf-8", "replace")
    for number, line in enumerate(text.split("\n"), run.first_line):
        yield b"%b%b%b%d}" % (head, _encode(line)[1:-1], at, number), number


def _live_body(run: Run, _: str) -> bytes:
    return b"".join(text_message(frame) for frame, _ in _live_frames(run))


def _live_sse_body(run: Run, _: str) -> bytes:
    return b"".join(_sse(frame, line) for frame, line in _live_frames(run))


def _join(segments: Sequence[Segment]) -> bytes:
    return b"".join([segment.body for segment in segments])


# --- both -------------------------------------------------------------------


def _is_marker(run: Run) -> bool:
    return (
        isinstance(run.event, StageBegin | StageEnd)
        and run.next_line == run.first_line + 1
    )


def _is_error(run: Run) -> bool:
    if run.event is None:
        return run.source is Source.STDERR
    return isinstance(run.event, Note) and run.event.error


def _marker(run: Run) -> bytes:
    event = run.event
    if not isinstance(event, StageBegin | StageEnd):
        raise TypeError("no stage marker")
    return encode_frame(
        StageMarker(
            run.text.decode("utf-8", "replace"),
            rfc3339(from_micros(run.captured_us)),
            run.first_line,
            event.stage,
            "begin" if isinstance(event, StageBegin) else "end",
        )
    )


def _no_run(run: Run, _: str) -> bytes:
    raise TypeError("plain text is made of chunks, not of lines")


DIALECTS: dict[DialectName, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            DialectName.BATCH,
            _batch_body,
            _wrap_batch,
            lambda frame: text_message(encode_frame(frame)),
        ),
        Dialect(
            DialectName.LIVE,
            _live_body,
            _join,
            lambda frame: text_message(encode_frame(frame)),
        ),
        Dialect(
            DialectName.BATCH_SSE,
            _batch_body,
            _wrap_batch_sse,
            lambda frame: _sse(encode_frame(frame), None),
        ),
        Dialect(
            DialectName.LIVE_SSE,
            _live_sse_body,
            _join,
            lambda frame: _sse(encode_frame(frame), None),
        ),
        Dialect(
            DialectName.INSTALL,
            install_body,
            _join,
            install_message,
            tells_progress=True,
        ),
        Dialect(
            DialectName.AGENT,
            agent_body,
            _join,
            lambda frame: text_message(encode_frame(frame)),
        ),
        Dialect(
            DialectName.SCRIPT,
            script_body,
            _join,
            lambda frame: text_message(encode_frame(frame)),
        ),
        Dialect(DialectName.TEXT, _no_run, _join, lambda frame: b"", by_bytes=True),
    )
}
