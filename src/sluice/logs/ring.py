"""The newest lines of a watched log in one wire form, ready to be written to every reader near."""

import bisect
from collections.abc import Iterable

from sluice.logs.dialects import Segment

RING_BYTES = 1024 * 1024
RING_LINES = 1000
# segments are small objects of their own besides their bytes
_OVERHEAD = 150


class RingBudget:
    """What all rings of a server may hold together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def exceeded(self) -> bool:
        """Whether somebody has to give something back."""
        return self.used > self.limit


class Ring:
    """Consecutive segments up to ``end``; older ones go first.

    Args:
        end: offset at which the next segment will begin.
        budget: shared by all rings.
    """

    def __init__(self, end: int, budget: RingBudget) -> None:
        self._segments: list[Segment] = []
        self._budget = budget
        self._bytes = 0
        self._lines = 0
        self.end = end

    @property
    def start(self) -> int:
        """Offset of the oldest byte held; `end` where nothing is."""
        return self._segments[0].start if self._segments else self.end

    @property
    def lines(self) -> int:
        """How many lines are held."""
        return self._lines

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return self._bytes

    def after(self, offset: int, budget: int) -> list[Segment]:
        """Segments from ``offset`` on, about ``budget`` bytes; none where no segment
        begins there.
        """
        segments = self._segments
        first = self._index(offset)
        if first == len(segments) or segments[first].start != offset:
            return []
        last = first
        size = 0
        while last < len(segments) and size < budget:
            size += len(segments[last].body)
            last += 1
        return segments[first:last]

    def boundary(self, offset: int) -> int:
        """The first place behind ``offset`` from which the ring can go on."""
        if not self._segments or offset < self.start:
            return self.start
        at = bisect.bisect_right(self._segments, offset, key=_start)
        return self._segments[at].start if at < len(self._segments) else self.end

    def extend(self, segments: Iterable[Segment], *, needed: int) -> None:
        """Add the newest segments; ``needed`` as for `trim`."""
        for segment in segments:
            self._segments.append(segment)
            self.end = segment.end
            self._count(segment, 1)
        self.trim(needed=needed)

    def put_before(self, segments: list[Segment]) -> None:
        """Add older segments that reach up to `start`, as far as there is room."""
        if not segments or segments[-1].end != self.start:
            return
        taken = 0
        for segment in reversed(segments):
            lines = segment.next_line - segment.first_line
            full = self._bytes + _weight(segment) > RING_BYTES
            if full or self._lines + lines > RING_LINES or self._budget.exceeded:
                break
            self._count(segment, 1)
            taken += 1
        if taken:
            self._segments[:0] = segments[-taken:]

    def trim(self, *, needed: int) -> None:
        """Let the oldest go: beyond 1 MiB always, beyond 1000 lines where no reader has
        still to come by (``needed`` is the offset of the last one).
        """
        gone = 0
        for segment in self._segments:
            rest = self._lines - (segment.next_line - segment.first_line)
            over = self._bytes > RING_BYTES or self._budget.exceeded
            if not over and (rest < RING_LINES or segment.end > needed):
                break
            self._count(segment, -1)
            gone += 1
        del self._segments[:gone]

    def clear(self, end: int) -> None:
        """Hold nothing; the next segment will begin at ``end``."""
        self._budget.used -= self._bytes
        self._segments.clear()
        self._bytes = self._lines = 0
        self.end = end

    def _index(self, offset: int) -> int:
        return bisect.bisect_left(self._segments, offset, key=_start)

    def _count(self, segment: Segment, sign: int) -> None:
        weight = sign * _weight(segment)
        self._bytes += weight
        self._budget.used += weight
        self._lines += sign * (segment.next_line - segment.first_line)


def _start(segment: Segment) -> int:
    return segment.start


def _weight(segment: Segment) -> int:
    return len(segment.body) + _OVERHEAD
