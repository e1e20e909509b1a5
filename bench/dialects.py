"""What a frame from each kind of server says: which lines it carries and how old they are."""

import re
from array import array
from typing import NamedTuple, Protocol

import msgspec

from bench.lines import parse
from bench.stretches import exact_stretch

NO_STAMP = 0

Buffer = bytes | bytearray


class Carried(NamedTuple):
    """What lines a frame carries.

    Attributes:
        first: number of the first line.
        after: number of the line after the last.
        stamps: the stamp of each; `NO_STAMP` for a line that no generator wrote.
        written: how many lines a generator wrote.
    """

    first: int
    after: int
    stamps: "array[int]"
    written: int


class Dialect(Protocol):
    """Reads frames of one kind of server; says of each which lines it carries."""

    def read(self, buffer: Buffer, begin: int, stop: int) -> Carried | None:
        """The lines of the frame whose payload lies there; None for one without lines.

        Raises:
            ValueError: the frame contradicts itself or what came before, or a
                generator's line is not as it was written.
        """
        ...

    def ends(self, payload: bytes) -> bool:
        """Whether this frame (one without lines) is the stream's last."""
        ...


_BATCH = re.compile(
    rb'\{"type":"batch","first_line":(\d+),"next_line":(\d+),"lines":\['
)


class Batches:
    """Sluice's `format=batch`.

    A generator's lines stand together in a log, so line minus number is always the same.
    Whatever stands on standard output must be a line as a generator writes it.
    """

    def __init__(self) -> None:
        self._distance: int | None = None

    def read(self, buffer: Buffer, begin: int, stop: int) -> Carried | None:
        """Lines of a `batch` frame or of a stage marker."""
        exact = self._exact(buffer, begin, stop)
        return exact or self._mixed(bytes(buffer[begin:stop]))

    def _exact(self, buffer: Buffer, begin: int, stop: int) -> Carried | None:
        """A frame with nothing but a generator's lines; None where that is not so."""
        head = _BATCH.match(buffer, begin, stop)
        if head is None:
            return None
        first, after = int(head[1]), int(head[2])
        stamps = array("q")
        line, at = first, head.end()
        while line < after:
            stretch = exact_stretch(buffer, at, after - line)
            if stretch is None:
                return None
            self._check(line, line - stretch.number)
            stamps.extend(array("q", (stretch.stamp,)) * stretch.lines)
            line += stretch.lines
            closing = b"," if line < after else b"]}"
            if not buffer.startswith(closing, stretch.end, stop):
                return None
            at = stretch.end + len(closing)
        return Carried(first, after, stamps, after - first) if at == stop else None

    def _mixed(self, payload: bytes) -> Carried | None:
        """Any frame, line by line."""
        frame = msgspec.json.decode(payload)
        match frame["type"]:
            case "batch":
                first, after = frame["first_line"], frame["next_line"]
                lines = [(line[1], line[3]) for line in frame["lines"]]
            case "stage_marker":
                first = frame["line_num"]
                after = first + 1
                lines = [("agent", frame["line"])]
            case _:
                return None
        if after - first != len(lines):
            raise ValueError(f"{len(lines)} lines between {first} and {after}")
        stamps = array("q")
        for line, (source, text) in enumerate(lines, first):
            stamps.append(self._stamp(line, text) if source == "stdout" else NO_STAMP)
        return Carried(first, after, stamps, len(lines) - stamps.count(NO_STAMP))

    def _stamp(self, line: int, text: str) -> int:
        found = parse(text.encode())
        if found is None:
            raise ValueError(f"line {line} is not as it was written: {text[:120]!r}")
        self._check(line, line - found[0])
        return found[1]

    def _check(self, line: int, distance: int) -> None:
        if self._distance is None:
            self._distance = distance
        if distance != self._distance:
            raise ValueError(
                f"line {line} carries number {line - distance}, not {line - self._distance}"
            )

    def ends(self, payload: bytes) -> bool:
        """`completed` is the last frame."""
        return payload.startswith(b'{"type":"completed"')


class PlainLines:
    """One generator's line a frame (nchan, websockets.broadcast); numbered from 0."""

    def read(self, buffer: Buffer, begin: int, stop: int) -> Carried | None:
        """The one line; several where a peer joins them."""
        found = [parse(text) for text in bytes(buffer[begin:stop]).splitlines()]
        known = [pair for pair in found if pair is not None]
        if not known:
            return None
        first = known[0][0]
        if [number for number, _ in known] != list(range(first, first + len(known))):
            raise ValueError(f"numbers in one frame have a gap at {first}")
        stamps = array("q", [stamp for _, stamp in known])
        return Carried(first, first + len(known), stamps, len(known))

    def ends(self, payload: bytes) -> bool:
        """A frame that says so."""
        return payload.startswith(b"END")


DIALECTS: dict[str, type[Batches] | type[PlainLines]] = {
    "batch": Batches,
    "lines": PlainLines,
}
