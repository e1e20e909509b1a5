"""All watched logs of this server: opens a tail for the first reader, drops it with the last."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sluice.base.errors import UnavailableError
from sluice.base.ids import TaskId
from sluice.logs.dialects import DialectName
from sluice.logs.history import LogView
from sluice.logs.lane import Reader
from sluice.logs.model import Position, Unit
from sluice.logs.tail import Tail, TailParts
from sluice.wire.shapes.streams import StreamStat, StreamStats

LAST_LINES = 1000
REMOTE_WATCH_SECONDS = 15.0

Start = Callable[[LogView], Awaitable[Position]]


class Tails:
    """The one way out of a log: `read` follows it from any place to its end."""

    def __init__(self, parts: TailParts) -> None:
        self._parts = parts
        self._tails: dict[TaskId, Tail] = {}
        self._pumps: dict[TaskId, asyncio.Task[None]] = {}
        self._users: dict[TaskId, int] = {}
        self._remote: dict[TaskId, float] = {}
        self._group: asyncio.TaskGroup | None = None
        self._clients = 0

    async def run(self) -> None:
        """Own the pumps until cancelled; readers then end with their connections."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._tails.clear()
            self._pumps.clear()

    def offer(self, unit: Unit) -> None:
        """Chunks that were just stored here (called by the group commit)."""
        tail = self._tails.get(unit.task_id)
        if tail is not None:
            tail.offer(unit)

    def watched(self, task_id: TaskId) -> bool:
        """Whether somebody reads along, here or, as last heard, on another server."""
        if task_id in self._tails:
            return True
        until = self._remote.get(task_id)
        return until is not None and until > self._parts.clock.monotonic()

    def watched_elsewhere(self, task_id: TaskId) -> None:
        """Another server has told that somebody reads along there."""
        if task_id not in self._tails:
            until = self._parts.clock.monotonic() + REMOTE_WATCH_SECONDS
            self._remote[task_id] = until

    def forget(self, task_id: TaskId) -> None:
        """Nobody writes the log any more: who watches it elsewhere does not matter."""
        self._remote.pop(task_id, None)

    @asynccontextmanager
    async def read(
        self, task_id: TaskId, dialect: DialectName, start: Start
    ) -> AsyncIterator[Reader]:
        """A reader from where ``start`` says; it has gone when the block ends.

        Raises:
            NotFoundError: there is no such log.
            UnavailableError: the server is starting or stopping.
        """
        tail = self._use(task_id)
        reader: Reader | None = None
        try:
            await tail.ready()
            await tail.view.refresh()
            reader = tail.enter(dialect, await start(tail.view))
            self._count(1)
            yield reader
        finally:
            if reader is not None:
                tail.leave(reader)
            self._release(task_id, tail)
            if reader is not None:
                self._count(-1)

    def stats(self) -> StreamStats:
        """What is followed on this server now."""
        now = self._parts.clock.monotonic()
        streams = [
            StreamStat(
                task_id=tail.task_id,
                clients_count=tail.clients,
                buffer_size=tail.lines,
                uptime=round(now - tail.started, 3),
                closed=tail.end is not None,
            )
            for tail in self._tails.values()
        ]
        return StreamStats(streams=streams, count=len(streams))

    def _use(self, task_id: TaskId) -> Tail:
        if self._group is None:
            raise UnavailableError(
                "The server is starting or stopping; follow the output again."
            )
        tail = self._tails.get(task_id)
        if tail is None:
            tail = self._tails[task_id] = Tail(
                self._parts, task_id, self._group.create_task
            )
            self._pumps[task_id] = self._group.create_task(
                tail.run(), name=f"tail {task_id}"
            )
        self._users[task_id] = self._users.get(task_id, 0) + 1
        return tail

    def _release(self, task_id: TaskId, tail: Tail) -> None:
        if self._tails.get(task_id) is not tail:
            return
        self._users[task_id] -= 1
        if not self._users[task_id]:
            del self._users[task_id], self._tails[task_id]
            self._pumps.pop(task_id).cancel()

    def _count(self, change: int) -> None:
        self._clients += change
        self._parts.metrics.watching(streams=len(self._tails), clients=self._clients)


def from_line(after: int | None) -> Start:
    """Start with the line behind ``after``, or with the last 1000 lines.

    A reader that has seen all there is gets nothing again: not even a last line without
    a newline, which counts as seen when its number does.
    """

    async def start(view: LogView) -> Position:
        record = view.record
        if after is None:
            last = await view.locate(record.next_line)
            rest = record.sealed and last.offset < record.committed
            return await view.locate(max(1, record.next_line - LAST_LINES + rest))
        if record.sealed and after >= record.next_line:
            return Position(record.committed, after + 1)
        return await view.locate(after + 1)

    return start


def from_offset(offset: int) -> Start:
    """Start at a byte; beyond the head, at the head (for plain text)."""

    async def start(view: LogView) -> Position:
        return Position(min(offset, view.record.committed), 1)

    return start
