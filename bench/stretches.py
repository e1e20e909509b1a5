"""Compares a generator's lines inside a `batch` frame with what they must be, in bulk.

Lines of one thousand that were written and captured together differ in the last three
digits of their numbers alone. So what they must look like in a frame is put together by
one `join` and held against the frame by one comparison of memory: that overlooks no byte,
and costs a fraction of looking at each line.
"""

import bisect
import re
from typing import NamedTuple

from bench.lines import BLOCK, filler

_ENTRY = re.compile(rb'\[\d{13},"stdout","info","L(\d{7})(\d{3}) (\d{19}) ')
_LOWS = [b"%03d" % low for low in range(BLOCK)]
_LOW_WIDTH = 3
_REST = b" %b " + filler() + b'"]'


class Stretch(NamedTuple):
    """Consecutive lines of a generator.

    Attributes:
        number: what the first line carries.
        lines: how many.
        stamp: their stamp.
        end: position in the frame behind the last.
    """

    number: int
    lines: int
    stamp: int
    end: int


def exact_stretch(frame: bytes | bytearray, at: int, most: int) -> Stretch | None:
    """The stretch whose first line stands at ``at``, of at most ``most`` lines.

    None where the lines there are not, byte for byte, what a generator writes to its
    standard output; then the frame needs a closer look.
    """
    entry = _ENTRY.match(frame, at)
    if entry is None:
        return None
    low = int(entry[2])
    head = bytes(frame[at : entry.start(2)])
    rest = _REST % entry[3]
    count = _alike(frame, at, head, rest, min(most, BLOCK - low))
    between = rest + b"," + head
    wanted = head + between.join(_LOWS[low : low + count]) + rest
    if not frame.startswith(wanted, at):
        return None
    number = int(entry[1]) * BLOCK + low
    return Stretch(number, count, int(entry[3]), at + len(wanted))


def _alike(
    frame: bytes | bytearray, at: int, head: bytes, rest: bytes, most: int
) -> int:
    """How many lines from ``at`` on seem to be of one stretch; a guess, not yet a check."""
    width = len(head) + _LOW_WIDTH + len(rest) + len(b",")

    def differs(index: int) -> bool:
        place = at + index * width
        return not (
            frame.startswith(head, place)
            and frame.startswith(rest, place + len(head) + _LOW_WIDTH)
        )

    if not differs(most - 1):
        return most
    return bisect.bisect_left(range(most - 1), True, key=differs)
