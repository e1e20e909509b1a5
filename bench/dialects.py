"""What a frame from each kind of server says: which lines it carries and how old they are."""

import re
from typing import NamedTuple, Protocol

import msgspec

from bench.lines import parse

NO_STAMP = 0


class Carried(NamedTuple):
    """Lines ``first`` up to, not including, ``after``, and the stamp of each."""

    first: int
    after: int
    stamps: list[int]


class Dialect(Protocol):
    """Reads frames of one kind of server; says of each which lines it carries."""

    def read(self, payload: bytes) -> Carried | None:
        """The lines of a frame; None for a frame without lines.

        Raises:
            ValueError: the frame contradicts itself or what came before.
        """
        ...

    def ends(self, payload: bytes) -> bool:
        """Whether this frame (one without lines) is the stream's last."""
        ...


_BATCH = re.compile(rb'\{"type":"batch","first_line":(\d+),"next_line":(\d+),')
_STAMPED = re.compile(rb"L\d{10} \d{19} ")
_number = b"%010d".__mod__


class Batches:
    """Sluice's `format=batch`.

    A generator's lines stand together in a log, so line minus number is always the same.
    """

    def __init__(self) -> None:
        self._distance: int | None = None

    def read(self, payload: bytes) -> Carried | None:
        """Lines of a `batch` frame or of a stage marker."""
        head = _BATCH.match(payload)
        if head is not None:
            found = _STAMPED.findall(payload)
            first, after = int(head[1]), int(head[2])
            if found and len(found) == after - first:
                return self._stamped(first, after, found)
        return self._mixed(payload)

    def _stamped(self, first: int, after: int, found: list[bytes]) -> Carried:
        distance = first - int(found[0][1:11])
        self._check(first, distance)
        numbers = [text[1:11] for text in found]
        if numbers != list(map(_number, range(first - distance, after - distance))):
            raise ValueError(
                f"numbers between lines {first} and {after} are not in order"
            )
        return Carried(first, after, [int(text[12:31]) for text in found])

    def _mixed(self, payload: bytes) -> Carried | None:
        frame = msgspec.json.decode(payload)
        match frame["type"]:
            case "batch":
                first, after = frame["first_line"], frame["next_line"]
                texts = [line[3] for line in frame["lines"]]
            case "stage_marker" | "output" | "error":
                first = frame["line_num"]
                after = first + 1
                texts = [frame["line"]]
            case _:
                return None
        if after - first != len(texts):
            raise ValueError(f"{len(texts)} lines between {first} and {after}")
        stamps = [self._stamp(line, text) for line, text in enumerate(texts, first)]
        return Carried(first, after, stamps)

    def _stamp(self, line: int, text: str) -> int:
        found = parse(text.encode())
        if found is None:
            return NO_STAMP
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

    def read(self, payload: bytes) -> Carried | None:
        """The one line; several where a peer joins them."""
        found = [parse(text) for text in payload.splitlines()]
        known = [pair for pair in found if pair is not None]
        if not known:
            return None
        first = known[0][0]
        if [number for number, _ in known] != list(range(first, first + len(known))):
            raise ValueError(f"numbers in one frame have a gap at {first}")
        return Carried(first, first + len(known), [stamp for _, stamp in known])

    def ends(self, payload: bytes) -> bool:
        """A frame that says so."""
        return payload.startswith(b"END")


DIALECTS: dict[str, type[Batches] | type[PlainLines]] = {
    "batch": Batches,
    "lines": PlainLines,
}
