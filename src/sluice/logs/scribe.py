"""Writes records as the server, for runs that hand their lines in instead of uploading a log.

Many callers may write into one log at a time: each is given its place behind those whose
output is not stored yet, so that one commit takes them all. Where the log has moved
otherwise, another place is taken.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from sluice.base.clock import Clock, to_micros
from sluice.base.errors import ConflictError, UnavailableError
from sluice.base.ids import TaskId
from sluice.logs.history import History
from sluice.logs.look_back import mark_before
from sluice.logs.loop import GroupCommit
from sluice.logs.model import Unit
from sluice.logs.records import record_chunks
from sluice.wire.chunk import Chunk, Source, event_chunk, placed
from sluice.wire.events import Capped, capped_line
from sluice.wire.log_flow import Head, Verdict
from sluice.wire.script_mark import SaidLine, ScriptMark, mark_after, mark_of

TRIES = 50
KNOWN_LOGS = 10_000


@dataclass(frozen=True, slots=True)
class _End:
    """Where a log will end, and what is known of the script there.

    Units that were placed one behind the other are of one ``chain``: where one of them is
    not stored, those behind it are not either, but those of a later chain may be.
    """

    head: Head
    mark: ScriptMark
    chain: int


class Scribe:
    """Appends records wherever a log stands; knows what is on its way to the disk.

    The records that reach a log's ``limit`` (0: there is none) are its last: a `capped`
    event stands behind them, and later ones are dropped.
    """

    def __init__(
        self, history: History, commit: GroupCommit, clock: Clock, limit: int = 0
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._history = history
        self._commit = commit
        self._chains = itertools.count()
        self._ends: OrderedDict[TaskId, _End] = OrderedDict()
        self._under_way: dict[TaskId, int] = {}
        self._turns: WeakValueDictionary[TaskId, asyncio.Lock] = WeakValueDictionary()

    async def write(
        self,
        task_id: TaskId,
        epoch: int,
        records: Sequence[SaidLine],
        start: ScriptMark,
    ) -> Unit:
        """Append ``records`` in one piece; durable when this returns.

        ``start`` is what is known of the script where nothing stands before them. Where
        the log is full the unit is empty.

        Raises:
            ConflictError: the log has ended, or is written under another epoch.
            UnavailableError: the database is away, or too many write at once.
            NotFoundError: there is no such log.
        """
        turn = self._turns.setdefault(task_id, asyncio.Lock())
        for _ in range(TRIES):
            async with turn:
                end = await self._end(task_id, start)
                if end.head.closed or end.head.epoch != epoch:
                    raise ConflictError(
                        f"The log of {task_id} is no longer written by this run."
                    )
                if self._limit and end.head.committed >= self._limit:
                    return _unit(task_id, end.head, ())
                unit = self._capped(
                    _unit(task_id, end.head, record_chunks(records, end.mark))
                )
                self._place(unit, end.chain)
            if await self._stored(unit, end.chain):
                return unit
        raise UnavailableError(
            f"The log of {task_id} moves all the time; send the output again."
        )

    async def _end(self, task_id: TaskId, start: ScriptMark) -> _End:
        """Behind what is under way; else where the log stands."""
        known = self._ends.get(task_id)
        if known is not None and task_id in self._under_way:
            return known
        view = await self._history.view(task_id)
        head = view.record.head
        if known is not None and known.head == head:
            return known
        mark = await mark_before(view.read, head.committed)
        return _End(head, start if mark is None else mark, next(self._chains))

    def _capped(self, unit: Unit) -> Unit:
        """The unit with the `capped` event behind it where it reaches the limit."""
        if not self._limit or unit.end < self._limit:
            return unit
        event = Capped(self._limit, unit.end)
        line = capped_line(event)
        if not unit.chunks[-1].data.endswith(b"\n"):
            line = b"\n" + line
        captured_us = to_micros(self._clock.now())
        last = event_chunk(event, line, source=Source.SERVER, captured_us=captured_us)
        head = Head(unit.epoch, unit.offset, unit.first_line)
        return _unit(unit.task_id, head, (*unit.chunks, last))

    async def _stored(self, unit: Unit, chain: int) -> bool:
        """Whether the unit, which has its place, was stored there."""
        task_id = unit.task_id
        stored = False
        try:
            verdict, _ = await (await self._commit.offer(unit))
            # "already there" does not count: what is there are the bytes of others
            stored = verdict is Verdict.APPEND
        finally:
            self._under_way[task_id] -= 1
            if not self._under_way[task_id]:
                del self._under_way[task_id]
            known = self._ends.get(task_id)
            if not stored and known is not None and known.chain == chain:
                del self._ends[task_id]
        return stored

    def _place(self, unit: Unit, chain: int) -> None:
        """From here on others come behind this unit."""
        self._under_way[unit.task_id] = self._under_way.get(unit.task_id, 0) + 1
        last = unit.chunks[-1]
        mark = mark_after(mark_of(last) or ScriptMark(), last.data)
        self._ends[unit.task_id] = _End(unit.after, mark, chain)
        self._ends.move_to_end(unit.task_id)
        if len(self._ends) > KNOWN_LOGS:
            self._ends.popitem(last=False)


def _unit(task_id: TaskId, head: Head, chunks: Sequence[Chunk]) -> Unit:
    at, line = head.committed, head.next_line
    put = []
    for chunk in chunks:
        put.append(placed(chunk, offset=at, first_line=line))
        at, line = put[-1].end, put[-1].next_line
    return Unit(
        task_id, head.epoch, head.committed, head.next_line, at, line, tuple(put)
    )
