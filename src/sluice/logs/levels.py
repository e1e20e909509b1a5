"""Decides how grave a line of Terraform's output is, by the marks written into it.

Most chunks have no mark at all, so the whole chunk is searched for the marks at once
(each pattern begins with a literal, which `re` finds at memory speed), and only lines
with a mark cost anything.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

from sluice.wire.chunk import Source
from sluice.wire.events import AgentLost, Capped, Event, Gap, Note


class Level(StrEnum):
    """How grave a line is."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    SUCCESS = "success"
    """Something is done; only the installers' form shows it, others say `info`."""


PLAIN_NAMES = {level: level.value for level in Level} | {
    Level.SUCCESS: Level.INFO.value
}
"""Levels as the forms name them that know no success."""

_SAID = {
    "trace": Level.DEBUG,
    "trc": Level.DEBUG,
    "debug": Level.DEBUG,
    "debu": Level.DEBUG,
    "dbug": Level.DEBUG,
    "dbg": Level.DEBUG,
    "verbose": Level.DEBUG,
    "info": Level.INFO,
    "inf": Level.INFO,
    "information": Level.INFO,
    "notice": Level.INFO,
    "note": Level.INFO,
    "warn": Level.WARN,
    "warning": Level.WARN,
    "wrn": Level.WARN,
    "err": Level.ERROR,
    "erro": Level.ERROR,
    "error": Level.ERROR,
    "fail": Level.ERROR,
    "failed": Level.ERROR,
    "failure": Level.ERROR,
    "fatal": Level.ERROR,
    "fata": Level.ERROR,
    "ftl": Level.ERROR,
    "crit": Level.ERROR,
    "critical": Level.ERROR,
    "emerg": Level.ERROR,
    "alert": Level.ERROR,
    "severe": Level.ERROR,
    "panic": Level.ERROR,
    "pani": Level.ERROR,
    "pnc": Level.ERROR,
    "success": Level.SUCCESS,
}

# terraform: at the line's start, behind colours and the frame's `│ ` or `╷`
_LEAD = re.compile(
    rb"(?:\x1b\[[0-9;]*m|\xe2\x94[\x80-\xbf]|\xe2\x95[\x80-\xbf]|[ \t])*"
)
_LEADING = (
    (re.compile(rb"Error:"), Level.ERROR),
    (re.compile(rb"Warning:"), Level.WARN),
)
# anywhere: [WARN], level=warn, level="warn", "level":"warn", "@level":"warn"
_ANYWHERE = (
    re.compile(rb"\[(TRACE|DEBUG|INFO|WARN(?:ING)?|ERR(?:OR)?|FATAL)\]"),
    re.compile(
        rb"level\"?[=:] ?\"?((?i:trace|debug|info|warn(?:ing)?|err(?:or)?|fatal|panic))\b"
    ),
)


def named_level(name: str) -> Level | None:
    """The level of that name in any of its common forms; None where it is none."""
    return _SAID.get(name.lower())


def default_level(source: Source, event: Event | None) -> Level:
    """The level of lines without a mark."""
    match event:
        case Note(error=True) | AgentLost():
            return Level.ERROR
        case Gap() | Capped():
            return Level.WARN
        case None if source is Source.STDERR:
            return Level.ERROR
        case _:
            return Level.INFO


def marked_lines(text: bytes, default: Level) -> list[tuple[int, int, Level]]:
    """(begin, end, level) of each line whose mark says other than ``default``, in order.

    Where a line has several marks the first in the line counts.
    """
    found: dict[int, tuple[int, int, Level]] = {}
    for begin, end, mark, level in _marks(text):
        known = found.get(begin)
        if known is None or mark < known[1]:
            found[begin] = (end, mark, level)
    return [
        (begin, found[begin][0], found[begin][2])
        for begin in sorted(found)
        if found[begin][2] is not default
    ]


def unmarked(text: bytes) -> bool:
    """Whether no line of the text says how grave it is."""
    patterns = (*(pattern for pattern, _ in _LEADING), *_ANYWHERE)
    return not any(pattern.search(text) for pattern in patterns)


def _marks(text: bytes) -> Iterator[tuple[int, int, int, Level]]:
    for pattern, level in _LEADING:
        for begin, end, match in _first_in_lines(pattern, text):
            lead = _LEAD.match(text, begin, match.start())
            if lead is not None and lead.end() == match.start():
                yield begin, end, match.start(), level
    for pattern in _ANYWHERE:
        for begin, end, match in _first_in_lines(pattern, text):
            yield begin, end, match.start(), _SAID[match[1].decode().lower()]


def _first_in_lines(
    pattern: re.Pattern[bytes], text: bytes
) -> Iterator[tuple[int, int, re.Match[bytes]]]:
    """Begin and end of each line that has a match, with its first one; linear in time."""
    at = 0
    while (match := pattern.search(text, at)) is not None:
        begin = text.rfind(b"\n", at, match.start()) + 1 or at
        end = text.find(b"\n", match.end())
        if end < 0:
            yield begin, len(text), match
            return
        yield begin, end, match
        at = end + 1
