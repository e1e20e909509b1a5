"""Follows one watched log at its head and hands what is new to every reader.

One pump a watched log and process. A reader is a cursor: behind, it reads the past in
its own time; near, it is served from the ring; at the head it gets each flush as soon as
it is made. Nothing is ever queued for a reader, so a slow one is simply further back.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from sluice.base.clock import Clock, from_micros, rfc3339, to_micros
from sluice.base.errors import SluiceError, UnavailableError
from sluice.base.ids import TaskId
from sluice.events.hub import Hub, Subscription
from sluice.events.topics import log_topic, task_topic, watch_topic
from sluice.logs.dialects import DIALECTS, DialectName, Segment
from sluice.logs.history import History, LogView
from sluice.logs.lane import Lane, Reader
from sluice.logs.lines import Assembler, Run, event_of
from sluice.logs.look_back import look_back
from sluice.logs.metrics import LogMetrics
from sluice.logs.model import LogRecord, Position, Unit
from sluice.logs.ring import Ring, RingBudget
from sluice.wire.chunk import Chunk
from sluice.wire.events import End
from sluice.wire.stream import Completed

FLUSH_BYTES = 512 * 1024
FRESH_BYTES = 1024 * 1024
FLUSH_SECONDS = 0.002
FLUSH_REST = 1.5
"""So many times what a flush took does the next one wait: fan-out takes 2/5 of a core."""
RECHECK_SECONDS = (1.0, 2.0)
OWED_SECONDS = 0.05
WATCH_SECONDS = 5.0
LINGER_SECONDS = 30 * 60.0
RETRY_SECONDS = 1.0

_logger = structlog.get_logger(__name__)


Spawn = Callable[
    [Coroutine[None, None, list[Chunk] | None]], "asyncio.Task[list[Chunk] | None]"
]


@dataclass(frozen=True, slots=True)
class TailParts:
    """What every tail of a server shares."""

    history: History
    hub: Hub
    clock: Clock
    budget: RingBudget
    metrics: LogMetrics


class Tail:
    """One watched log on this server.

    Attributes:
        view: how its past is read.
        end: the last frame, once the log has ended.
        failure: why nothing more will come, where that is so.
    """

    def __init__(self, parts: TailParts, task_id: TaskId, spawn: Spawn) -> None:
        self._spawn = spawn
        self.parts = parts
        self.task_id = task_id
        self.end: Completed | None = None
        self.started = parts.clock.monotonic()
        self.doing = "starts"
        self._lanes: dict[DialectName, Lane] = {}
        self._ready = asyncio.Event()
        self.failure: SluiceError | None = None
        self._view: LogView | None = None
        self._assembler = Assembler(Position(0, 1))
        self._bytes_head = 0
        self._fresh: deque[Chunk] = deque()
        self._fresh_bytes = 0
        self._fresh_end = -1
        self._missed = False
        self._owed = False
        self._watch_at = 0.0

    @property
    def view(self) -> LogView:
        """How the log's past is read."""
        assert self._view is not None
        return self._view

    @property
    def metrics(self) -> LogMetrics:
        """What is counted."""
        return self.parts.metrics

    @property
    def clients(self) -> int:
        """How many readers there are."""
        return sum(len(lane.readers) for lane in self._lanes.values())

    @property
    def lines(self) -> int:
        """How many lines are held in memory."""
        return max((lane.ring.lines for lane in self._lanes.values()), default=0)

    async def ready(self) -> None:
        """Wait until the log's head is known.

        Raises:
            NotFoundError: there is no such log.
        """
        await self._ready.wait()
        if self.failure is not None:
            raise self.failure

    def enter(self, name: DialectName, start: Position) -> Reader:
        """A new reader at ``start`` (a line's start; for plain text any offset)."""
        lane = self._lanes.get(name)
        if lane is None:
            dialect = DIALECTS[name].of(self.task_id)
            end = self._bytes_head if dialect.by_bytes else self._line_head
            lane = self._lanes[name] = Lane(dialect, Ring(end, self.parts.budget))
        reader = Reader(self, lane, start)
        lane.readers.add(reader)
        return reader

    def spawn(
        self, work: Coroutine[None, None, list[Chunk] | None]
    ) -> "asyncio.Task[list[Chunk] | None]":
        """Do ``work``, which does not fail, beside."""
        return self._spawn(work)

    def leave(self, reader: Reader) -> None:
        """A reader has gone."""
        reader.stop()
        for name, lane in list(self._lanes.items()):
            lane.readers.discard(reader)
            lane.at_head.pop(reader, None)
            if not lane.readers:
                lane.ring.clear(lane.ring.end)
                del self._lanes[name]

    def offer(self, unit: Unit) -> None:
        """Chunks that were just stored by this process; taken if they come next."""
        if not self._ready.is_set() or self.failure is not None:
            return
        follows = not self._fresh or unit.offset == self._fresh_end
        if not follows or self._fresh_bytes > FRESH_BYTES:
            self._missed = True
            return
        self._fresh.extend(unit.chunks)
        self._fresh_bytes += unit.end - unit.offset
        self._fresh_end = unit.end

    # --- the pump ---

    async def run(self) -> None:
        """Pump until the log ends or nobody watches (then it is cancelled).

        A fault of the pump ends this tail alone: its readers are told, and come again.
        """
        try:
            await self._pump()
        except SluiceError as error:
            self.failure = error
        except Exception as error:
            _logger.exception("a log cannot be followed", task_id=self.task_id)
            self.failure = UnavailableError(
                f"The output of {self.task_id} cannot be followed ({error});"
                " follow it again."
            )
        except asyncio.CancelledError:
            self.failure = UnavailableError("The server is stopping; follow again.")
            raise
        finally:
            self._ready.set()
            self._wake_all()

    async def _pump(self) -> None:
        topics = (log_topic(self.task_id), task_topic(self.task_id))
        with self.parts.hub.subscribe(*topics) as changes:
            await self._begin()
            self._ready.set()
            flush_at = 0.0
            while self.end is None:
                self.doing = "waits at the head"
                look = await self._changed(changes)
                await self._pause(flush_at)
                self.doing = "hands out what is new"
                flush_at = await self._round(changes, look=look)
        self.doing = "has ended"
        await self._linger()

    async def _begin(self) -> None:
        view = self._view = await self.parts.history.view(self.task_id)
        record = view.record
        if record.sealed:
            self._finish(record)
            return
        position = await view.locate(record.next_line)
        self._assembler = Assembler(position)
        self._bytes_head = record.committed

    @property
    def _line_head(self) -> int:
        return self._assembler.position.offset

    async def _changed(self, changes: Subscription) -> bool:
        """Wait for news; False where they can only be of chunks already taken in."""
        self._tell_watched()
        # jitter, not secrecy
        seconds = OWED_SECONDS if self._owed else random.uniform(*RECHECK_SECONDS)  # noqa: S311
        if not await changes.wait(seconds):
            self._owed = False
            return True
        if self._fresh or self._missed:
            return True
        # the chunks this tells of came with the ones before; look soon all the same
        return not self._owed

    async def _pause(self, until: float) -> None:
        rest = until - self.parts.clock.monotonic()
        if rest > 0:
            await asyncio.sleep(rest)

    async def _round(self, changes: Subscription, *, look: bool) -> float:
        """One flush; when the next may begin."""
        clock = self.parts.clock
        started = clock.monotonic()
        try:
            chunks = await self._news(look=look)
            if any(lane.dialect.tells_progress for lane in self._lanes.values()):
                await look_back(self.view.read, self._assembler, chunks)
        except (SluiceError, SQLAlchemyError, OSError) as error:
            # the database is away: readers at the head simply wait
            _logger.warning(
                "a log cannot be read", task_id=self.task_id, reason=str(error)
            )
            await asyncio.sleep(RETRY_SECONDS)
            self._missed = True
            changes.notify()
            return 0.0
        if chunks:
            await self._flush(chunks)
            if self._fresh or self._missed:
                changes.notify()
            # the readers' writes are made before this comes back
            await asyncio.sleep(0)
        ended = clock.monotonic()
        return ended + max(FLUSH_SECONDS, FLUSH_REST * (ended - started))

    async def _news(self, *, look: bool) -> list[Chunk]:
        head = self._assembler.head
        chunks = self._take_fresh(head)
        if chunks:
            self._owed = True
            return chunks
        if not look and not self._missed:
            return []
        self._missed = False
        chunks = await self.view.read(head, FLUSH_BYTES)
        if chunks and chunks[-1].end > head:
            # there may be more
            self._missed = True
        return chunks

    def _take_fresh(self, head: int) -> list[Chunk]:
        fresh = self._fresh
        while fresh and fresh[0].end <= head:
            self._fresh_bytes -= len(fresh.popleft().data)
        if fresh and fresh[0].offset > head:
            # what lies between is in the database
            self._missed = True
            return []
        chunks: list[Chunk] = []
        size = 0
        while fresh and size < FLUSH_BYTES:
            chunk = fresh.popleft()
            chunks.append(chunk)
            size += len(chunk.data)
        self._fresh_bytes -= size
        return chunks

    async def _flush(self, chunks: list[Chunk]) -> None:
        runs: list[Run] = []
        for chunk in chunks:
            runs += self._assembler.feed(chunk)
        last = chunks[-1]
        event = event_of(last)
        if isinstance(event, End):
            runs += self._assembler.finish()
            at = rfc3339(from_micros(last.captured_us))
            self.end = Completed(at, event.status)
        self._bytes_head = last.end
        head = self._assembler.position
        new = [(lane, lane.take(runs, chunks, head)) for lane in self._lanes.values()]
        for lane, segments in new:
            if segments:
                readers = len(lane.at_head)
                self._count(segments, await lane.hand_out(segments), readers)
        if self.end is not None:
            self._wake_all()

    def _count(self, segments: list[Segment], size: int, readers: int) -> None:
        first, last = segments[0], segments[-1]
        lines = last.next_line - first.first_line
        self.metrics.delivered(lines=lines, size=size, readers=readers)
        now = to_micros(self.parts.clock.now())
        self.metrics.lag((now - first.captured_us) / 1_000_000)

    def _finish(self, record: LogRecord) -> None:
        at = record.sealed_at or self.parts.clock.now()
        self.end = Completed(rfc3339(at), record.final_status or "")
        position = Position(record.committed, record.next_line)
        self._assembler = Assembler(position)
        self._bytes_head = record.committed
        self._wake_all()

    def _wake_all(self) -> None:
        for lane in self._lanes.values():
            for reader in list(lane.at_head):
                reader.wake()

    def _tell_watched(self) -> None:
        now = self.parts.clock.monotonic()
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            self.parts.hub.publish(watch_topic(self.task_id))

    async def _linger(self) -> None:
        """Readers may still be reading; what is held for them is not held for ever."""
        await asyncio.sleep(LINGER_SECONDS)
        for lane in self._lanes.values():
            lane.ring.clear(lane.ring.end)
