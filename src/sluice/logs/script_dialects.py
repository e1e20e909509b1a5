"""The wire forms that have one message a line and say more of it: install, agent, script."""

from collections.abc import Iterator

import msgspec

from sluice.base.clock import from_micros, rfc3339
from sluice.logs.grading import parts
from sluice.logs.levels import PLAIN_NAMES, Level, named_level
from sluice.logs.lines import Run
from sluice.wire.chunk import Source
from sluice.wire.frames import text_message
from sluice.wire.progress import ProgressState, changes
from sluice.wire.script_stream import (
    InstallCompleted,
    InstallLevel,
    RecordLevel,
    RecordSource,
)
from sluice.wire.stream import Completed, Frame, encode_frame

SUCCESS_STATUS = "success"
INSTALL_LEVELS = {
    Level.DEBUG: InstallLevel.INFO,
    Level.INFO: InstallLevel.INFO,
    Level.WARN: InstallLevel.WARN,
    Level.ERROR: InstallLevel.ERROR,
    Level.SUCCESS: InstallLevel.SUCCESS,
}
RECORD_LEVELS = {
    Level.DEBUG: RecordLevel.DEBUG,
    Level.INFO: RecordLevel.INFO,
    Level.WARN: RecordLevel.WARN,
    Level.ERROR: RecordLevel.ERROR,
    Level.SUCCESS: RecordLevel.INFO,
}
RECORD_SOURCES = {
    Source.STDOUT: RecordSource.STDOUT,
    Source.STDERR: RecordSource.STDERR,
    Source.AGENT: RecordSource.AGENT,
    Source.SERVER: RecordSource.AGENT,
}

_GRAVITY = {
    Level.DEBUG: 0,
    Level.INFO: 1,
    Level.SUCCESS: 1,
    Level.WARN: 2,
    Level.ERROR: 3,
}
_NOTHING = ProgressState()
_STANDIN = b"\x7f"
_encode = msgspec.json.Encoder().encode


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Lines in a row that are equally grave and change nothing of what is known.

    Attributes:
        text: the lines with a newline between them.
        first_line: number of the first.
        level: how grave they are.
        state: what is known of the progress after the first, and so after each.
    """

    text: bytes
    first_line: int
    level: Level
    state: ProgressState


def stretches(run: Run) -> Iterator[Stretch]:
    """A run as stretches, in order."""
    state: ProgressState = run.mark or _NOTHING
    moves = iter(()) if run.event is not None else changes(state, run.text)
    move = next(moves, None)
    line = run.first_line
    for begin, end, level in parts(run):
        at = begin
        while move is not None and move[0] <= end:
            if move[0] > at:
                text = run.text[at : move[0] - 1]
                yield Stretch(text, line, level, state)
                line += text.count(b"\n") + 1
            at, state = move
            move = next(moves, None)
        text = run.text[at:end]
        yield Stretch(text, line, level, state)
        line += text.count(b"\n") + 1


def progress_number(state: ProgressState) -> float | int:
    """The progress as installers' messages say it: a whole number where it is one."""
    value = state.progress or 0
    return int(value) if value == int(value) else value


def install_body(run: Run, _: str) -> bytes:
    """Messages of spec/2."""
    at = rfc3339(from_micros(run.captured_us))
    messages: list[bytes] = []
    for stretch in stretches(run):
        state = stretch.state
        head = f'{{"timestamp":"{at}","level":"{INSTALL_LEVELS[stretch.level]}",'
        tail = (
            f',"current_step":{state.current_step},"total_steps":{state.total_steps},'
        )
        after = b'","progress":%b,"step":%b%b"line_num":' % (
            _encode(progress_number(state)),
            _encode(state.step),
            tail.encode(),
        )
        before = head.encode() + b'"message":"'
        messages += _messages(stretch.text, stretch.first_line, before, after)
    return b"".join(messages)


def install_message(frame: Frame) -> bytes:
    """Frames that are no lines; the last says 100 where the script ended well."""
    if isinstance(frame, Completed):
        progress = 100 if frame.status == SUCCESS_STATUS else None
        return text_message(
            _encode(InstallCompleted(frame.timestamp, frame.status, progress))
        )
    return text_message(encode_frame(frame))


def agent_body(run: Run, task_id: str) -> bytes:
    """Messages of spec/4, "Log upload"."""
    at = rfc3339(from_micros(run.captured_us))
    head = b'{"task_id":%b,"timestamp":"%b","level":"' % (
        _encode(task_id),
        at.encode(),
    )
    messages: list[bytes] = []
    for begin, end, level in parts(run):
        start = b'%b%b","line":"' % (head, PLAIN_NAMES[level].encode())
        messages += [
            text_message(b'%b%b"}' % (start, line))
            for line in _escaped(run.text[begin:end])
        ]
    return b"".join(messages)


def script_body(run: Run, task_id: str) -> bytes:
    """Messages of spec/5, without the lines that are less grave than viewers shall see."""
    at = rfc3339(from_micros(run.captured_us))
    head = b'{"type":"log","taskId":%b,"timestamp":"%b","source":"%b","level":"' % (
        _encode(task_id),
        at.encode(),
        RECORD_SOURCES[run.source].encode(),
    )
    own = None if run.event is not None else run.mark
    metadata = b',"metadata":{"processId":%d,"scriptPath":%b}}' % (
        0 if own is None else own.process_id,
        b'""' if own is None else _encode(own.script_path),
    )
    floor = None if own is None else named_level(own.floor)
    lowest = 0 if floor is None else _GRAVITY[floor]
    messages: list[bytes] = []
    line = run.first_line
    for begin, end, level in parts(run):
        text = run.text[begin:end]
        if _GRAVITY[level] >= lowest:
            before = b'%b%b","message":"' % (head, RECORD_LEVELS[level].encode())
            messages += _messages(text, line, before, b'","lineNumber":', metadata)
        line += text.count(b"\n") + 1
    return b"".join(messages)


def _messages(
    text: bytes, number: int, before: bytes, after: bytes, end: bytes = b"}"
) -> Iterator[bytes]:
    """A message a line: ``before``, the line, ``after``, the line's number, ``end``."""
    for line in _escaped(text):
        yield text_message(b"%b%b%b%d%b" % (before, line, after, number, end))
        number += 1


def _escaped(text: bytes) -> list[bytes]:
    """Each line as it stands inside a JSON string; all are escaped in one go."""
    if _STANDIN in text:
        lines = text.decode("utf-8", "replace").split("\n")
        return [_encode(line)[1:-1] for line in lines]
    joined = text.replace(b"\n", _STANDIN).decode("utf-8", "replace")
    return _encode(joined)[1:-1].split(_STANDIN)
