"""Reads how far a script is off the lines that it prints (spec/2, "Structured message").

Recognised, in this order, at the beginning of a line (behind colours, a time and a level):

- ``::progress value=40 step=3/7::Unpacking``, with either of the two values or both;
- ``[3/7] text``;
- ``Step 3/7: text``;
- a leading or trailing ``42%``.

Of a line that a carriage return writes over, the last piece counts. Progress never goes
backwards within a step count, and lines alone take it to 99 at most: 100 is for a script
that ended well (`finished`).
"""

import re
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec
from msgspec.structs import replace

STEP_CHARS = 200
"""Longer names of steps are cut."""

PIECE_BYTES = 400
"""So much of a line is looked at; a percentage at the end of a longer one is not seen."""

HIGHEST = 99.0
"""How far lines alone can take the progress."""


class ProgressState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How far a script is, as far as it has said.

    Attributes:
        progress: 0 to 100; None as long as nothing was said.
        step: what is being done now.
        current_step: its number.
        total_steps: how many there are; 0 where that was not said.
    """

    progress: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    step: str = ""
    current_step: int = 0
    total_steps: int = 0


State = TypeVar("State", bound=ProgressState)

_NUMBER = rb"\d{1,3}(?:\.\d{1,6})?"
_CSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_MARKER = re.compile(rb"::progress((?: +\w+=[^\s:]*)*) *::(.*)", re.DOTALL)
_VALUE = re.compile(rb" value=(" + _NUMBER + rb")%?(?= |$)")
_STEP = re.compile(rb" step=(\d{1,6})/(\d{1,6})(?= |$)")
_TIME = (
    rb"(?:\[?(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d)?\]? +)?"
)
_LEVEL = rb"(?:\[?(?:(?i:trace|debug|info|notice))\]?:? +)?"
# [3/7], and of docker's builder: #9 [3/7]
_COUNTED = re.compile(
    rb"(?:#\d+ +)?"
    + _TIME
    + _LEVEL
    + rb"(?:\[ {0,6}(\d{1,6}) ?/ {0,6}(\d{1,6}) ?\]"
    + rb"|(?i:step) +(\d{1,6})/(\d{1,6})(?: ?:|$))(.*)",
    re.DOTALL,
)
_LEADING = re.compile(rb"\[? {0,3}(" + _NUMBER + rb")%(?![\w%])")
_TRAILING = re.compile(rb"(?<![\w.,+/-])(" + _NUMBER + rb")%[\])]*\Z")
_TRAILING_BYTES = 20

# what a line that says something has in it
_SIGNS = (
    re.compile(rb"::progress"),
    re.compile(rb"\[ {0,6}\d{1,6} ?/"),
    re.compile(rb"tep +\d{1,6}/"),
    re.compile(rb"TEP +\d{1,6}/"),
)
_DIGITS = frozenset(b"0123456789")


def after_line(state: State, line: bytes) -> State:
    """What is known after a line (without its newline)."""
    piece = _last_piece(line).strip()
    whole = len(piece) <= PIECE_BYTES
    piece = piece[:PIECE_BYTES]
    if b"\x1b" in piece:
        piece = _CSI.sub(b"", piece).strip()
    if (found := _MARKER.match(piece)) is not None:
        return _after_marker(state, found)
    if (found := _COUNTED.match(piece)) is not None:
        current, total = int(found[1] or found[3]), int(found[2] or found[4])
        if 0 < total >= current:
            return _after_step(state, (current, total), found[5], None)
    found = _LEADING.match(piece)
    if found is None and whole:
        found = _TRAILING.search(piece, max(0, len(piece) - _TRAILING_BYTES))
    if found is not None and (value := float(found[1])) <= 100:
        return _advanced(state, value, state.total_steps)
    return state


def after_text(state: State, text: bytes) -> State:
    """What is known after many lines; only those that can say something cost anything."""
    for _, after in changes(state, text):
        state = after
    return state


def changes(state: State, text: bytes) -> Iterator[tuple[int, State]]:
    """Where in the text a line begins that changes what is known, and what is known then."""
    for begin, end in _telling(text):
        after = after_line(state, text[begin:end])
        if after != state:
            state = after
            yield begin, state


def finished(state: State) -> State:
    """What is known once the script has ended well."""
    return replace(state, progress=100.0)


def begun_line(before: bytes, data: bytes) -> bytes:
    """What has to be kept of a line that is not whole, to read it once it is.

    Args:
        before: what was kept until now.
        data: the bytes that came since.
    """
    last = data.rfind(b"\n")
    line = before + data if last < 0 else data[last + 1 :]
    core = line.rstrip(b"\r \t")
    piece = _last_piece(core).lstrip()
    blanks = line[len(core) :]
    if b"\r" in blanks:
        # what comes next is written over the piece, if it is anything to be seen
        return piece[: PIECE_BYTES + 1] + b"\r"
    return (piece + blanks)[: PIECE_BYTES + 1] if piece else b""


def _last_piece(line: bytes) -> bytes:
    line = line.rstrip(b"\r \t")
    return line[line.rfind(b"\r") + 1 :]


def _after_marker(state: State, found: re.Match[bytes]) -> State:
    value, step = _VALUE.search(found[1]), _STEP.search(found[1])
    said = None if value is None else float(value[1])
    if said is not None and said > 100:
        said = None
    if step is not None:
        current, total = int(step[1]), int(step[2])
        if 0 < total >= current:
            return _after_step(state, (current, total), found[2], said)
    if text := _name(found[2]):
        state = replace(state, step=text)
    return state if said is None else _advanced(state, said, state.total_steps)


def _after_step(
    state: State, step: tuple[int, int], text: bytes, value: float | None
) -> State:
    current, total = step
    if value is None:
        value = max(0.0, (current - 1) / total * 100)
    moved = _advanced(state, value, total)
    name = _name(text)
    if not name and current == state.current_step and total == state.total_steps:
        name = state.step
    return replace(moved, step=name, current_step=current, total_steps=total)


def _advanced(state: State, value: float, total: int) -> State:
    value = round(min(value, HIGHEST), 2)
    if total == state.total_steps and state.progress is not None:
        value = max(value, state.progress)
    return state if value == state.progress else replace(state, progress=value)


def _name(text: bytes) -> str:
    return text.strip().decode("utf-8", "replace")[:STEP_CHARS].rstrip()


def _telling(text: bytes) -> list[tuple[int, int]]:
    """Begin and end of each line that can say something, in order."""
    found = {}
    for pattern in _SIGNS:
        at = 0
        while (sign := pattern.search(text, at)) is not None:
            begin, end = _line_around(text, at, sign.start())
            found[begin] = end
            at = end + 1
    at = 0
    while (percent := text.find(b"%", at)) >= 0:
        at = percent + 1
        if percent and text[percent - 1] in _DIGITS:
            begin, end = _line_around(text, 0, percent)
            found[begin] = end
            at = end + 1
    return sorted(found.items())


def _line_around(text: bytes, low: int, at: int) -> tuple[int, int]:
    """The line that has byte ``at``; it begins at ``low`` or behind it."""
    begin = text.rfind(b"\n", low, at) + 1 or low
    end = text.find(b"\n", at)
    return begin, len(text) if end < 0 else end
