"""Makes a line of a task's output safe and right for where it is shown.

Output comes from programs nobody here vouches for: of its escape sequences only colours
(``CSI … m``) reach a terminal, so no line can move the cursor, set the title, write to the
clipboard or overwrite what stands above it.
"""

import re

# CSI …, OSC/DCS/PM/APC/SOS … up to their terminator, other two-character escapes, C1 forms
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?"
)
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
# Characters that reorder what a reader sees, or hide in it. The joiners stay: scripts of
# people and emoji need them.
_HIDDEN = (
    r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f"
)
# all control characters but tab
_CONTROL = re.compile(rf"[\x00-\x08\x0a-\x1f\x7f-\x9f{_HIDDEN}]")
_IN_JSON = re.compile(rf"[\x7f-\x9f{_HIDDEN}]")
_BREAK = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
RESET = "\x1b[0m"
_KEPT = 8


def plain(line: str) -> str:
    """The line without any escape sequence or control character but tab."""
    return line if line.isprintable() else _swept(last_state(line))


def words(text: str) -> str:
    """What somebody wrote, to stand within a line: none of it hides what stands before it."""
    return plain(_BREAK.sub(" ", text))


def coloured(line: str) -> str:
    """The line with its colours and nothing else, colours ended at its end."""
    return Colours().line(line)


def in_json(text: str) -> str:
    """JSON with escapes for what JSON itself lets pass to a terminal; it means the same."""
    return _IN_JSON.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class Colours:
    """Makes lines safe one after the other, carrying a colour that is still on to the next.

    Every line ends with colours off, so that what stands between two lines of output (a
    status line, a prompt) is never painted by them.
    """

    def __init__(self) -> None:
        self._on: list[str] = []

    def line(self, line: str) -> str:
        """The next line with its colours and nothing else."""
        if not self._on and line.isprintable():
            return line
        begin = "".join(self._on)
        text, *rest = _COLOUR.split(last_state(line))
        safe = [begin, _swept(text)]
        for colour, part in zip(rest[::2], rest[1::2], strict=True):
            self._take(colour)
            safe += (colour, _swept(part))
        shown = "".join(safe)
        return shown + RESET if self._on else shown

    def _take(self, colour: str) -> None:
        codes = colour[2:-1]
        if codes.lstrip("0") == "" or codes.startswith(("0;", ";")):
            self._on.clear()
        if codes.strip("0;"):
            self._on.append(colour)
            del self._on[:-_KEPT]


def _swept(text: str) -> str:
    if text.isprintable():
        return text
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def last_state(line: str) -> str:
    r"""What a progress bar drawn with ``\r`` shows in the end: the text after the last one."""
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")
