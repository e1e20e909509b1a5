"""The lines that generators write: numbered, stamped with the machine's monotonic clock.

A line is ``L<number, 10 digits> <nanoseconds, 19 digits> <filler>`` and a newline, of a
fixed size. The monotonic clock is the same in all processes of a machine, so a reader
knows how old each line is.
"""

import re
import time

SIZE = 100
BLOCK = 1000
_HEAD = re.compile(rb"L(\d{10}) (\d{19}) ")
_NUMBER = b"@" * 7
_STAMP = b"#" * 19


def block_template(size: int = SIZE) -> bytes:
    """A thousand lines with places for the thousands of the number and for the stamp."""
    filler = b"0123456789abcdef" * (size // 16 + 1)
    room = size - len(b"L0123456789 ") - len(_STAMP) - len(b" \n")
    return b"".join(
        b"L%b%03d %b %b\n" % (_NUMBER, low, _STAMP, filler[:room])
        for low in range(BLOCK)
    )


class Lines:
    """Makes consecutive lines fast: a thousand cost two replacements."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.number = 0
        self._template = block_template(size)
        self._single = self._template[:size]

    def block(self) -> bytes:
        """The next thousand lines, all with the stamp of now (number at a thousand)."""
        thousand, rest = divmod(self.number, BLOCK)
        if rest:
            raise ValueError("a block begins at a full thousand")
        self.number += BLOCK
        text = self._template.replace(_NUMBER, b"%07d" % thousand)
        return text.replace(_STAMP, b"%019d" % time.monotonic_ns())

    def take(self, count: int, *, stamp_ns: int | None = None) -> bytes:
        """The next ``count`` lines, all with one stamp: of now, or as given."""
        stamp = b"%019d" % (time.monotonic_ns() if stamp_ns is None else stamp_ns)
        tail = self._single[len(_NUMBER) + 5 + len(stamp) :]
        first = self.number
        self.number += count
        return b"".join(
            b"L%010d %b%b" % (number, stamp, tail)
            for number in range(first, self.number)
        )


def parse(text: bytes) -> tuple[int, int] | None:
    """Number and stamp of a line; None for a line that no generator wrote."""
    match = _HEAD.match(text)
    return (int(match[1]), int(match[2])) if match else None
