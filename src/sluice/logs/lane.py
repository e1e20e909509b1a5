"""Readers of one watched log in one wire form: cursors, served from the past, the ring or a flush."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from sluice.base.errors import SluiceError
from sluice.edge.gate import Gate
from sluice.logs.blocks import BLOCK_BYTES, Blocks, cut_bytes
from sluice.logs.dialects import Dialect, Segment
from sluice.logs.history import DamagedLogError, LogView, Packed
from sluice.logs.lines import Run
from sluice.logs.metrics import LogMetrics
from sluice.logs.model import Position
from sluice.logs.ring import Ring
from sluice.wire.chunk import Chunk
from sluice.wire.stream import Completed

RING_READ_BYTES = 256 * 1024
PUSH_BYTES = 1024 * 1024
SLICE_SECONDS = 0.005

Push = Callable[[bytes], bool]
"""Writes a payload at once; False where the reader is full now and wants no more."""


class Followed(Protocol):
    """What a reader needs to know of the log it follows (`tail.Tail`)."""

    @property
    def view(self) -> LogView:
        """How the log's past is read."""
        ...

    @property
    def end(self) -> Completed | None:
        """The last frame, once the log has ended."""
        ...

    @property
    def failure(self) -> SluiceError | None:
        """Why nothing more will come, where that is so."""
        ...

    @property
    def metrics(self) -> LogMetrics:
        """What is counted."""
        ...

    def spawn(
        self, work: Coroutine[None, None, list[Chunk] | None]
    ) -> "asyncio.Task[list[Chunk] | None]":
        """Do ``work`` beside; it does not fail. The tails' own task group is its owner."""
        ...


class ReadAhead:
    """Fetches a reader's next block while its last one is encoded and written.

    Only a reader that has taken two blocks in a row gets this: one that hangs holds
    nothing.
    """

    __slots__ = ("_at", "_coming", "_expected", "_packed", "_tail")

    def __init__(self, tail: Followed) -> None:
        self._tail = tail
        self._expected = -1
        self._at = -1
        self._coming: asyncio.Task[list[Chunk] | None] | None = None
        self._packed: Packed | None = None

    async def read(self, offset: int, budget: int) -> list[Chunk]:
        """Chunks from ``offset``, as `LogView.read` gives them."""
        chunks = await self._fetched(offset) or await self._tail.view.read(
            offset, budget
        )
        end = chunks[-1].end if chunks else offset
        again, self._expected = offset == self._expected, end
        if again and end > offset and budget == BLOCK_BYTES:
            self._packed = self._packed or Packed()
            self._at = end
            self._coming = self._tail.spawn(self._fetch(end, self._packed))
            # begun before the reader goes on with what it has
            await asyncio.sleep(0)
        return chunks

    def line_at(self, offset: int) -> int | None:
        """As `LogView.line_at`."""
        return self._tail.view.line_at(offset)

    def forget(self) -> None:
        """Nobody comes back, or only from elsewhere."""
        self._packed = None
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None

    async def _fetched(self, offset: int) -> list[Chunk] | None:
        coming, self._coming = self._coming, None
        if coming is None:
            return None
        if self._at != offset:
            coming.cancel()
            return None
        await asyncio.wait((coming,))
        return None if coming.cancelled() else coming.result()

    async def _fetch(self, offset: int, packed: Packed) -> list[Chunk] | None:
        try:
            return await self._tail.view.read(offset, BLOCK_BYTES, packed)
        except Exception:  # noqa: BLE001 - who asks for it meets the fault in the open
            return None


class Reader:
    """One cursor on a log in one wire form.

    Attributes:
        offset: byte offset of what comes next.
        line: number of the line that comes next.
        push: where set, called with each payload while the reader waits at the head.
    """

    __slots__ = (
        "_ahead",
        "_backlog",
        "_blocks",
        "_lane",
        "_stopped",
        "_wake",
        "line",
        "offset",
        "push",
        "tail",
    )

    def __init__(self, tail: Followed, lane: "Lane", start: Position) -> None:
        self.tail = tail
        self.offset = start.offset
        self.line = start.line
        self.push: Push | None = None
        self._lane = lane
        self._wake = Gate()
        self._ahead = ReadAhead(tail)
        self._blocks = Blocks(self._ahead, lane.dialect)
        self._backlog: bytes | None = None
        self._stopped = False

    @property
    def dialect(self) -> Dialect:
        """The wire form."""
        return self._lane.dialect

    async def next(self) -> bytes | None:
        """The next payload, waiting for it at the head; None after the end or `stop`.

        With `push` set, payloads may also be written while this waits; it gives an empty
        one where the push said that the reader is full. Cancelled, it loses nothing: what
        was not given out is given out by the next call.

        Raises:
            DamagedLogError: stored output cannot be read.
            UnavailableError: the server is stopping.
        """
        lane = self._lane
        while not self._stopped:
            if self._backlog is not None:
                payload, self._backlog = self._backlog, None
                return payload
            segments = lane.ring.after(self.offset, RING_READ_BYTES)
            if segments:
                self._leave_past()
            elif self.offset < lane.ring.end:
                segments = await self._past()
            if segments:
                return self._given(segments)
            if self.tail.end is not None:
                return None
            if self.tail.failure is not None:
                raise self.tail.failure
            lane.at_head[self] = None
            try:
                await self._wake.wait()
            finally:
                lane.at_head.pop(self, None)
                self._wake.clear()
        return None

    def deliver(self, payload: bytes, last: Segment) -> None:
        """A flush while the reader waits at the head (called by the pump)."""
        self.offset, self.line = last.end, last.next_line
        if not payload:
            # all its lines are left out of this wire form
            return
        if self.push is None or len(payload) > PUSH_BYTES:
            self._backlog = payload
            self.wake()
        elif not self.push(payload):
            self._backlog = b""
            self.wake()

    def stop(self) -> None:
        """Nobody wants more of it: `next` returns None from now on."""
        self._stopped = True
        self._ahead.forget()
        self.wake()

    def wake(self) -> None:
        """Leave the head and look again."""
        self._lane.at_head.pop(self, None)
        self._wake.set()

    def _leave_past(self) -> None:
        """The ring has caught the reader up: nothing is held for it any more."""
        self._ahead.forget()
        self._blocks.forget()

    async def _past(self) -> list[Segment]:
        """What lies between here and the ring."""
        lane = self._lane
        stop = lane.ring.boundary(self.offset)
        here = Position(self.offset, self.line)
        segments = await self._blocks.read(
            here, stop=stop, ended=self.tail.end is not None
        )
        if not segments:
            raise DamagedLogError(
                f"Line {self.line} of the log of {self.tail.view.record.task_id}"
                " cannot be read."
            )
        lane.ring.put_before(segments)
        return segments

    def _given(self, segments: list[Segment]) -> bytes:
        payload = self._lane.dialect.wrap(segments)
        last = segments[-1]
        lines = last.next_line - segments[0].first_line
        self.tail.metrics.delivered(lines=lines, size=len(payload), readers=1)
        self.offset, self.line = last.end, last.next_line
        return payload


class Lane:
    """All readers of one wire form, and their ring."""

    def __init__(self, dialect: Dialect, ring: Ring) -> None:
        self.dialect = dialect
        self.ring = ring
        self.readers: set[Reader] = set()
        self.at_head: dict[Reader, None] = {}

    def nearest(self) -> int | None:
        """Offset of the last reader that the ring still reaches; None where there is none."""
        start = self.ring.start
        if len(self.at_head) == len(self.readers):
            return self.ring.end if self.readers else None
        near = [reader.offset for reader in self.readers if reader.offset >= start]
        return min(near, default=None)

    def take(
        self, runs: list[Run], chunks: list[Chunk], head: Position
    ) -> list[Segment]:
        """Encode what is new and keep it in the ring.

        Where no reader is near, nothing is encoded: who comes later reads the past.
        """
        needed = self.nearest()
        end = chunks[-1].end if self.dialect.by_bytes else head.offset
        if needed is None:
            self.ring.clear(end)
            return []
        segments = (
            cut_bytes(chunks, self.ring.end, end)
            if self.dialect.by_bytes
            else self.dialect.segments(runs)
        )
        self.ring.extend(segments, needed=needed)
        return segments

    async def hand_out(self, segments: list[Segment]) -> int:
        """Give the newest segments to all readers at the head; the payload's size.

        With thousands of readers this takes many milliseconds: others get their turn
        between them.
        """
        payload = self.dialect.wrap(segments)
        start, last = segments[0].start, segments[-1]
        clock = asyncio.get_running_loop().time
        pause_at = clock() + SLICE_SECONDS
        for reader in list(self.at_head):
            if reader not in self.at_head:
                continue
            if reader.offset == start:
                reader.deliver(payload, last)
            elif reader.offset != last.end:
                reader.wake()
            if clock() >= pause_at:
                await asyncio.sleep(0)
                pause_at = clock() + SLICE_SECONDS
        return len(payload)
