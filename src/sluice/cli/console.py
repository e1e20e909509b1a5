"""Where words go: a task's output and data to stdout, everything else to stderr."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from pydantic import BaseModel

from sluice.cli import ansi
from sluice.cli.settings import CliSettings, ColorMode

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "amber": "33",
    "blue": "34",
    "violet": "35",
    "teal": "36",
}
_CLEAR = "\r\x1b[2K"


class Console:
    """The two streams of a command, and what may be written to each.

    Args:
        out: where output and data go.
        err: where messages, prompts and the status line go.
        settings: what the environment says.
        color: the ``--color`` option.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        settings: CliSettings,
        color: ColorMode = "auto",
        stdin: TextIO | None = None,
    ) -> None:
        self.out = out
        self.err = err
        self.stdin = stdin or sys.stdin
        for stream in (out, err):
            # a line that the terminal's encoding lacks is shown with marks, never a crash
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        self.out_is_terminal = _is_terminal(out)
        self.err_is_terminal = _is_terminal(err)
        quiet = color == "never" or (color == "auto" and settings.no_color)
        usable = color == "always" or not settings.dumb
        self._color_out = color == "always" or (
            self.out_is_terminal and usable and not quiet
        )
        self._color_err = (
            not quiet and usable and (self.err_is_terminal or color == "always")
        )
        self._moves_cursor = self.err_is_terminal and not settings.dumb
        self._status = ""
        self._unicode = (getattr(err, "encoding", "") or "").lower().startswith("utf")

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return self.err_is_terminal and _is_terminal(self.stdin)

    def paint(self, text: str, *styles: str) -> str:
        """``text`` in a style, where stderr shows colours."""
        return _painted(text, styles) if self._color_err else text

    def paint_out(self, text: str, *styles: str) -> str:
        """``text`` in a style, where stdout shows colours."""
        return _painted(text, styles) if self._color_out else text

    def symbol(self, fancy: str, simple: str) -> str:
        """``fancy`` where the terminal can show it."""
        return fancy if self._unicode else simple

    @property
    def colours_out(self) -> bool:
        """Whether stdout shows colours."""
        return self._color_out

    def write(self, text: str) -> None:
        """Write to stdout at once, without disturbing the status line."""
        self._hide_status()
        self.out.write(text)
        self.out.flush()
        self._show_status()

    def text(self, text: str) -> None:
        """Write a text that somebody wrote to stdout: as it is, unless it is a terminal."""
        lines = text.removesuffix("\n").split("\n")
        if self.out_is_terminal:
            lines = [ansi.plain(line) for line in lines]
        self.write("\n".join([*lines, ""]))

    def write_bytes(self, content: bytes) -> None:
        """Write to stdout as it is."""
        self._hide_status()
        self.out.flush()
        self.out.buffer.write(content)
        self.out.flush()

    def line(self, text: str = "") -> None:
        """Write a line to stdout; of escape sequences only colours pass."""
        self.write(f"{ansi.coloured(text)}\n")

    def say(self, text: str) -> None:
        """Write a line, or several, to stderr; of escape sequences only colours pass."""
        self._hide_status()
        lines = text.replace("\r", " ").split("\n")
        safe = "\n".join(ansi.coloured(line) for line in lines)
        self.err.write(f"{safe}\n")
        self.err.flush()
        self._show_status()

    def hint(self, text: str) -> None:
        """Write a quiet line to stderr."""
        self.say(self.paint(text, "dim"))

    def good(self, text: str) -> None:
        """Write a line about a success to stderr."""
        self.say(f"{self.paint(self.symbol('✓', 'ok'), 'green')} {text}")

    def bad(self, text: str) -> None:
        """Write a line about a failure to stderr."""
        self.say(f"{self.paint(self.symbol('✗', 'x'), 'red')} {text}")

    def warn(self, text: str) -> None:
        """Write a warning to stderr."""
        self.say(f"{self.paint('warning:', 'amber')} {text}")

    def status(self, text: str) -> None:
        """Show ``text`` in the line below everything; nothing where there is no terminal."""
        text = ansi.words(text)
        if not self._moves_cursor or text == self._status:
            return
        self._hide_status()
        self._status = text
        self._show_status()

    def prompt(self, text: str) -> None:
        """Write ``text`` to stderr and leave the cursor behind it."""
        self.status("")
        self.err.write(text)
        self.err.flush()

    def json(self, record: BaseModel | Sequence[BaseModel] | object) -> None:
        """Write one JSON document to stdout."""
        self.write(f"{ansi.in_json(to_json(record, indent=2))}\n")

    def json_line(self, record: BaseModel | object) -> None:
        """Write one JSON document in one line to stdout."""
        self.write(f"{ansi.in_json(to_json(record))}\n")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table to stdout: columns as wide as they need to be."""
        body = [[ansi.words(cell) for cell in row] for row in rows]
        widths = [
            max(len(cell) for cell in column)
            for column in zip(head, *body, strict=True)
        ]
        titles = _row(head, widths)
        lines = [self.paint_out(titles, "dim"), *(_row(row, widths) for row in body)]
        self.write("".join(f"{line}\n" for line in lines))

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write names and values to stdout, one pair a line."""
        known = [(name, ansi.words(value)) for name, value in pairs]
        width = max((len(name) for name, _ in known), default=0)
        self.write(
            "".join(
                f"{self.paint_out(name.ljust(width), 'dim')}  {value}\n"
                for name, value in known
            )
        )

    def _hide_status(self) -> None:
        if self._status:
            self.err.write(_CLEAR)
            self.err.flush()

    def _show_status(self) -> None:
        if self._status:
            room = shutil.get_terminal_size().columns - 1
            self.err.write(self.paint(self._status[:room], "dim"))
            self.err.flush()


def whole_writes(stream: TextIO) -> TextIO:
    """The same output, behind a buffer that writes everything or raises.

    Under ``PYTHONUNBUFFERED`` Python's own stdout drops what a write left over, silently.
    """
    try:
        handle = stream.fileno()
    except (OSError, ValueError):
        # captured, in a test: nothing below to lose anything
        return stream
    encoding = stream.encoding
    return open(handle, "w", encoding=encoding, newline="\n", closefd=False)


def to_json(record: object, *, indent: int | None = None) -> str:
    """A record, or a list of records, as JSON with the names of the API."""
    from pydantic_core import to_json as encode

    return encode(record, indent=indent, by_alias=True).decode()


def _is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()


def _painted(text: str, styles: Sequence[str]) -> str:
    codes = ";".join(_CODES[style] for style in styles)
    return f"\x1b[{codes}m{text}{ansi.RESET}" if codes else text


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
