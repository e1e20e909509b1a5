"""Writes the frames of a task's output to stdout: for people, for pipes, or as JSON lines."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from sluice.base.clock import from_micros, rfc3339
from sluice.cli import ansi, words
from sluice.cli.console import Console
from sluice.cli.progress import stage_name
from sluice.wire.stream import (
    Batch,
    Completed,
    Connected,
    ErrorLine,
    Frame,
    Output,
    StageMarker,
)

_RULE = 64
_PLATFORM = frozenset({"agent", "server"})
Line = tuple[int, str, str, str]


class LineRecord(msgspec.Struct, frozen=True):
    """One line as JSON: the shape of the live stream, with its source and level."""

    type: str
    line: str
    timestamp: str
    line_num: int
    source: str
    level: str


class Printer:
    """Writes frames; ``stage`` limits it to one stage's lines.

    Args:
        console: where to write.
        json: write JSON lines instead of text.
        stage: the only stage to write, or None for all.
    """

    def __init__(
        self, console: Console, *, json: bool = False, stage: str | None = None
    ) -> None:
        self._console = console
        self._json = json
        self._stage = stage
        self._inside = stage is None
        self._began: dict[str, datetime] = {}
        self._safe = ansi.Colours().line if console.colours_out else ansi.plain
        self._write_lines: Callable[[Batch], None] = (
            self._json_lines if json else self._text_lines
        )

    def show(self, frame: Frame) -> None:
        """Write one frame."""
        match frame:
            case Batch():
                if self._inside:
                    self._write_lines(frame)
            case StageMarker():
                self._marker(frame)
            case Output() | ErrorLine():
                self.show(_as_batch(frame))
            case Completed():
                if self._json:
                    self._console.json_line(msgspec.to_builtins(frame))
            case _:
                if self._json and not isinstance(frame, Connected):
                    self._console.json_line(msgspec.to_builtins(frame))

    def _text_lines(self, batch: Batch) -> None:
        lines = [self._text(line) for line in batch.lines]
        lines.append("")
        self._console.write("\n".join(lines))

    def _text(self, line: Line) -> str:
        _, source, level, text = line
        shown = self._safe(text)
        if source in _PLATFORM and text:
            return self._console.paint_out(shown, "red" if level == "error" else "teal")
        return shown

    def _json_lines(self, batch: Batch) -> None:
        encode = msgspec.json.encode
        records = [
            ansi.in_json(encode(_record(line, batch.first_line + index)).decode())
            for index, line in enumerate(batch.lines)
        ]
        records.append("")
        self._console.write("\n".join(records))

    def _marker(self, marker: StageMarker) -> None:
        mine = self._stage in {None, marker.stage}
        begins = marker.status == "begin"
        if mine and begins:
            self._inside = True
        if self._inside and mine:
            self._write_marker(marker)
        if mine and not begins and self._stage is not None:
            self._inside = False

    def _write_marker(self, marker: StageMarker) -> None:
        console = self._console
        if self._json:
            console.json_line(msgspec.to_builtins(marker))
        elif not console.out_is_terminal:
            console.line(self._safe(marker.line))
        else:
            console.line(self._headline(marker))

    def _headline(self, marker: StageMarker) -> str:
        console = self._console
        rule = console.symbol("─", "-")
        name = stage_name(marker.stage)
        at = datetime.fromisoformat(marker.timestamp)
        if marker.status == "begin":
            self._began[marker.stage] = at
            head = f"{rule * 2} {name} "
            return console.paint_out(head + rule * max(_RULE - len(head), 2), "bold")
        began = self._began.get(marker.stage)
        took = words.duration((at - began).total_seconds()) if began else ""
        return console.paint_out(f"   {name} {took}".rstrip(), "dim")


def _record(line: Line, number: int) -> LineRecord:
    millis, source, level, text = line
    told = source == "stderr" or (source in _PLATFORM and level == "error")
    kind = "error" if told else "output"
    at = rfc3339(from_micros(millis * 1000))
    return LineRecord(kind, text, at, number, source, level)


def _as_batch(frame: Output | ErrorLine) -> Batch:
    at = datetime.fromisoformat(frame.timestamp)
    level = "error" if isinstance(frame, ErrorLine) else "info"
    line = (int(at.timestamp() * 1000), "stdout", level, frame.line)
    return Batch(frame.line_num, frame.line_num + 1, [line])
