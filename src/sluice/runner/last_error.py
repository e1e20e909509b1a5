"""Finds the line of a script's standard error that best says why it failed."""

import re

_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_TELLING = re.compile(
    rb"\b(error|fatal|fail(ed|ure)?|cannot|can't|could not|denied|no such|not found"
    rb"|unable|refused|invalid|panic|exception)\b",
    re.IGNORECASE,
)
_TRACE = (b"+ ", b"++ ")
_MAX_LINE = 16 * 1024
_MAX_TEXT = 300


class LastError:
    """Reads (masked) standard error in blocks; the last line that speaks of an error wins."""

    def __init__(self) -> None:
        self._line = b""
        self._last = b""
        self._telling = b""

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = (self._line + block).split(b"\n")
        if len(rest) > _MAX_LINE:
            rest = rest[rest.rfind(b"\r") + 1 :][:_MAX_LINE]
        self._line = rest
        for line in lines:
            self._look(line)

    def finish(self) -> str:
        """The line to quote; empty where there was nothing on standard error."""
        self._look(self._line)
        self._line = b""
        found = self._telling or self._last
        return found.decode("utf-8", "replace")[:_MAX_TEXT]

    def _look(self, line: bytes) -> None:
        line = line.rstrip(b"\r \t")
        line = line[line.rfind(b"\r") + 1 :][:_MAX_LINE]
        line = _COLOUR.sub(b"", line).strip()
        if not line or line.startswith(_TRACE):
            return  # what a shell under `set -x` echoes says nothing
        self._last = line
        if _TELLING.search(line):
            self._telling = line
