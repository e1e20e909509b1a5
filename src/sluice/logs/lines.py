"""Cuts a log's chunks into runs of whole lines, joining lines that span chunks."""

import msgspec

from sluice.logs.model import Position
from sluice.wire.chunk import UNMARKED, Chunk, Kind, Source
from sluice.wire.events import Event
from sluice.wire.script_mark import ScriptMark, mark_after, mark_of

SHOWN_BYTES = 16 * 1024 * 1024
"""Longer lines are shown cut and say so; the download has them whole."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Whole lines that were captured together.

    Attributes:
        start: byte offset of the first line's first byte.
        end: byte offset just after the last line (after its newline, where it has one).
        first_line: number of the first line.
        next_line: number of the line that follows.
        captured_us: when the first line's first byte was captured.
        source: who wrote the first line's first byte.
        text: the lines with a newline between them, none at the end.
        event: the event whose lines these are, or None for output.
        unmarked: whether no line is known to say how grave it is.
        mark: of a script's log, what was known where the run begins.
    """

    start: int
    end: int
    first_line: int
    next_line: int
    captured_us: int
    source: Source
    text: bytes
    event: Event | None = None
    unmarked: bool = False
    mark: ScriptMark | None = None

    def until(self, stop: int) -> "Run":
        """The part before byte ``stop``, which is the start of a line inside the run."""
        text = self.text[: stop - self.start - 1]
        next_line = self.first_line + text.count(b"\n") + 1
        return msgspec.structs.replace(self, end=stop, next_line=next_line, text=text)


def event_of(chunk: Chunk) -> Event | None:
    """The event of a chunk; None for output and for an event of a newer agent that is
    not known here, whose lines are shown like any others.
    """
    if not chunk.meta:
        return None
    try:
        return chunk.event
    except msgspec.DecodeError:
        return None


class Assembler:
    """Fed with a log's chunks in order, gives runs; keeps a line that is not yet whole.

    Args:
        start: the start of a line; bytes before it are passed over.
    """

    def __init__(self, start: Position) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._omitted = 0
        self._captured_us = 0
        self._source = Source.STDOUT
        self._mark: ScriptMark | None = None
        self._known: tuple[ScriptMark, bytes] | None = None
        self._start = start.offset
        self._line = start.line
        self._head = start.offset

    @property
    def position(self) -> Position:
        """Where the line that comes next (or is not yet whole) begins."""
        return Position(self._start, self._line)

    @property
    def head(self) -> int:
        """Byte offset just after what was taken in."""
        return self._head

    @property
    def informed(self) -> bool:
        """Whether it is known what was known where the next chunk begins."""
        return self._known is not None

    def remember(self, mark: ScriptMark) -> None:
        """Say what is known where the next chunk begins; chunks of output say it themselves."""
        self._known = mark, b""

    def feed(self, chunk: Chunk, following: int | None = None) -> list[Run]:
        """Take the next chunk in and give the runs that are whole now.

        ``following`` is the number of the line in which the byte after the chunk stands,
        where that is known without counting.

        Raises:
            ValueError: the chunk does not follow the last one.
        """
        if chunk.offset > self._head:
            raise ValueError(
                f"bytes {self._head} to {chunk.offset} of the log are missing"
            )
        data = chunk.data
        if chunk.offset < self._head:
            data = data[self._head - chunk.offset :]
        self._head = max(self._head, chunk.end)
        runs: list[Run] = []
        if self._held:
            data = self._complete(data, runs)
        # of a script's log: what is known where the chunk begins
        mark = self._mark_of(chunk) if chunk.meta else None
        last = data.rfind(b"\n")
        if last >= 0:
            if following is None:
                following = self._line + data.count(b"\n")
            self._take(chunk, data[:last], following, self._here(mark, chunk), runs)
            data = data[last + 1 :]
        if data:
            if not self._held:
                self._captured_us, self._source = chunk.captured_us, chunk.source
                self._mark = self._here(mark, chunk)
            self._hold(data)
        return runs

    def finish(self) -> list[Run]:
        """The log has ended: a last line without its newline is whole now."""
        runs: list[Run] = []
        if self._held:
            self._release(self._head, runs)
        return runs

    def _complete(self, data: bytes, runs: list[Run]) -> bytes:
        """Look for the end of the line in hand; gives the bytes after it."""
        newline = data.find(b"\n")
        if newline < 0:
            self._hold(data)
            return b""
        self._hold(data[:newline])
        self._release(self._start + self._held + self._omitted + 1, runs)
        return data[newline + 1 :]

    def _mark_of(self, chunk: Chunk) -> ScriptMark | None:
        """What is known where a chunk begins; an event does not say it, so what came before
        it is asked.
        """
        if chunk.kind is Kind.OUTPUT:
            mark = mark_of(chunk)
            if mark is not None:
                self._known = mark, chunk.data
            return mark
        if self._known is None:
            return None
        mark = mark_after(*self._known)
        self._known = mark, b"\n" if mark.begun and b"\n" in chunk.data else b""
        return mark

    def _here(self, mark: ScriptMark | None, chunk: Chunk) -> ScriptMark | None:
        """What is known where the line that comes next begins; ``mark`` is the chunk's."""
        if mark is None:
            return None
        before = chunk.data[: max(0, self._start - chunk.offset)]
        if chunk.kind is Kind.EVENT:
            # what the platform says is no progress of the script
            before = b"\n" if before and mark.begun else b""
        return mark_after(mark, before)

    def _take(
        self,
        chunk: Chunk,
        text: bytes,
        next_line: int,
        mark: ScriptMark | None,
        runs: list[Run],
    ) -> None:
        end = self._start + len(text) + 1
        run = Run(
            self._start,
            end,
            self._line,
            next_line,
            chunk.captured_us,
            chunk.source,
            text,
            event_of(chunk),
            bool(chunk.flags & UNMARKED),
            mark,
        )
        runs.append(run)
        self._start, self._line = end, next_line

    def _hold(self, data: bytes) -> None:
        room = SHOWN_BYTES - self._held
        if len(data) > room:
            self._omitted += len(data) - room
            data = data[:room]
        if data:
            self._pieces.append(data)
            self._held += len(data)

    def _release(self, end: int, runs: list[Run]) -> None:
        text = b"".join(self._pieces)
        if self._omitted:
            text += (
                f" [{self._omitted} more bytes of this line are in the download]"
            ).encode()
        runs.append(
            Run(
                self._start,
                end,
                self._line,
                self._line + 1,
                self._captured_us,
                self._source,
                text,
                mark=self._mark,
            )
        )
        self._pieces, self._held, self._omitted = [], 0, 0
        self._start, self._line = end, self._line + 1
