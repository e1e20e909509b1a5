"""The lines that generators write: numbered, stamped with the machine's monotonic clock.

A line is ``L<number, 10 digits> <nanoseconds, 19 digits> <filler>`` and a newline, of a
fixed size. The monotonic clock is the same in all processes of a machine, so a reader
knows how old each line is.
"""

import re
import time
import zlib
from array import array

SIZE = 100
BLOCK = 1000
_HEAD = re.compile(rb"L(\d{10}) (\d{19}) ")
_NUMBER = b"@" * 7
_STAMP = b"#" * 19


def filler(size: int = SIZE) -> bytes:
    """What stands behind the stamp, up to the newline."""
    room = size - len(b"L0123456789 ") - len(_STAMP) - len(b" \n")
    return (b"0123456789abcdef" * (size // 16 + 1))[:room]


def block_template(size: int = SIZE) -> bytes:
    """A thousand lines with places for the thousands of the number and for the stamp."""
    rest = filler(size)
    return b"".join(
        b"L%b%03d %b %b\n" % (_NUMBER, low, _STAMP, rest) for low in range(BLOCK)
    )


class Lines:
    """Makes consecutive lines fast: a thousand cost two replacements.

    Attributes:
        number: how many were made.
        stamps: the stamp of each.
    """

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.number = 0
        self.stamps = array("q")
        self._template = block_template(size)
        self._single = self._template[:size]

    def block(self) -> bytes:
        """The next thousand lines, all with the stamp of now (number at a thousand)."""
        thousand, rest = divmod(self.number, BLOCK)
        if rest:
            raise ValueError("a block begins at a full thousand")
        self.number += BLOCK
        stamp = time.monotonic_ns()
        self.stamps.extend(array("q", (stamp,)) * BLOCK)
        text = self._template.replace(_NUMBER, b"%07d" % thousand)
        return text.replace(_STAMP, b"%019d" % stamp)

    def take(self, count: int, *, stamp_ns: int | None = None) -> bytes:
        """The next ``count`` lines, all with one stamp: of now, or as given."""
        at = time.monotonic_ns() if stamp_ns is None else stamp_ns
        self.stamps.extend(array("q", (at,)) * count)
        stamp = b"%019d" % at
        tail = self._single[len(_NUMBER) + 5 + len(stamp) :]
        first = self.number
        self.number += count
        return b"".join(
            b"L%010d %b%b" % (number, stamp, tail)
            for number in range(first, self.number)
        )


def account(lines: Lines) -> dict[str, int]:
    """What was written: how many lines, and a checksum of their stamps; with the numbers and
    the filler, which are known, that says what every byte was.
    """
    return {"lines": lines.number, "stamps": zlib.crc32(lines.stamps)}


_REST = filler()


def parse(text: bytes) -> tuple[int, int] | None:
    """Number and stamp of a line (without its newline); None for a line that no generator
    wrote, or that is not as it was written.
    """
    match = _HEAD.match(text)
    if match is None or text[match.end() :] != _REST:
        return None
    return int(match[1]), int(match[2])
