"""Finds the first error terraform prints, for the sentence that says why a task failed."""

import re

_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_FRAME = " │╷╵|\r\n"
_ERROR = "Error: "
# `init` says only that there are errors; they follow.
_PREAMBLE = "encountered problems during initialisation"
_MAX_LINE = 16 * 1024
_MAX_TEXT = 300


class FirstError:
    """Reads (masked) standard error in blocks; `text` is the first error's first line."""

    def __init__(self) -> None:
        self.text = ""
        self._line = b""

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        if self.text:
            return
        *lines, self._line = (self._line + block).split(b"\n")
        self._line = self._line[-_MAX_LINE:]
        for line in lines:
            self._look(line)

    def finish(self) -> str:
        """The first error; empty where there was none."""
        self._look(self._line)
        self._line = b""
        return self.text

    def _look(self, line: bytes) -> None:
        if self.text or b"rror" not in line:
            return
        plain = _COLOUR.sub(b"", line).decode("utf-8", "replace").strip(_FRAME)
        if plain.startswith(_ERROR) and _PREAMBLE not in plain:
            self.text = plain.removeprefix(_ERROR)[:_MAX_TEXT]
