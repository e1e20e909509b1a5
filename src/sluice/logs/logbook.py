"""The one hand that writes logs: uploads by compare-and-append, the server's own lines, the end."""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sluice.base.clock import Clock, to_micros
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.events.hub import Hub
from sluice.events.topics import log_topic
from sluice.logs.capping import first_part
from sluice.logs.history import History, LogView
from sluice.logs.incoming import BrokenUploadError, unit_of
from sluice.logs.lines import Assembler
from sluice.logs.loop import Answer, GroupCommit
from sluice.logs.model import LogRecord, Position, Unit
from sluice.logs.pending import FullPending, Pending
from sluice.logs.scribe import Scribe
from sluice.logs.tails import Tails
from sluice.wire.agent import LogPosition
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import End, Event, Note
from sluice.wire.log_flow import Ack, Head, Offer, Verdict, judge
from sluice.wire.script_mark import SaidLine, ScriptMark
from sluice.wire.texts import harmless

LAST_LINE_WINDOW = 64 * 1024
LAST_LINE_BYTES = 4 * 1024 * 1024
LAST_LINE_SHOWN = 500
SEAL_TRIES = 20


@dataclass(frozen=True, slots=True)
class LogParts:
    """What `Logs` stands on; ``limit`` is how many bytes a log may have, 0: any number."""

    history: History
    commit: GroupCommit
    tails: Tails
    hub: Hub
    clock: Clock
    limit: int = 0


class Logs:
    """All logs of this server. Methods with a ``tx`` join the caller's transaction."""

    def __init__(self, parts: LogParts) -> None:
        self._history = parts.history
        self._store = parts.history.store
        self._transactions = parts.history.transactions
        self._commit = parts.commit
        self._limit = parts.limit
        self._scribe = Scribe(parts.history, parts.commit, parts.clock, parts.limit)
        self._tails = parts.tails
        self._hub = parts.hub
        self._clock = parts.clock

    # --- the log's course ---

    async def open(self, tx: Tx, task_id: TaskId) -> None:
        """Open an empty log, written by the server; opening again changes nothing."""
        await self._store.open(tx, task_id, at=self._clock.now())

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogPosition:
        """Fence the present writer off (epoch + 1) and say where the next goes on.

        Raises:
            ConflictError: the log has ended.
            NotFoundError: there is no such log.
        """
        record = await self._store.hand_over(tx, task_id)
        if record is None:
            await self._known(tx, task_id)
            raise ConflictError(f"The log of {task_id} has ended; nobody writes it.")
        return _position(record)

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, LogPosition]:
        """`hand_over` for many; logs that are unknown or have ended are left out."""
        records = await self._store.hand_over_all(tx, task_ids)
        return {record.task_id: _position(record) for record in records}

    async def head(self, task_id: TaskId) -> Head:
        """Epoch, durable length and next line.

        Raises:
            NotFoundError: there is no such log.
        """
        return (await self._history.record(task_id)).head

    async def view(self, task_id: TaskId) -> LogView:
        """A reader's look at a log.

        Raises:
            NotFoundError: there is no such log.
        """
        return await self._history.view(task_id)

    def watched(self, task_id: TaskId) -> bool:
        """Whether somebody reads along, on this server or on another."""
        return self._tails.watched(task_id)

    # --- uploads ---

    async def offer(
        self, task_id: TaskId, epoch: int, offset: int, payload: bytes
    ) -> Pending:
        """Take encoded chunks in; the next upload may follow before this one is stored.

        Raises:
            UnavailableError: the server is stopping.
            NotFoundError: there is no such log.
        """
        try:
            unit = unit_of(task_id, epoch, offset, payload)
        except BrokenUploadError:
            head = await self.head(task_id)
            verdict = judge(head, Offer(epoch, offset, len(payload), intact=False))
            return self._settled(task_id, (verdict, head))
        if unit is None:
            return self._settled(task_id, await self._probe(task_id, epoch))
        part = first_part(unit, self._limit)
        if part is not None:
            return await self._full(part)
        waiting = await self._commit.offer(unit)
        return Pending(waiting, partial(self.watched, task_id), unit)

    async def _full(self, part: Unit) -> Pending:
        """Take in what fits of an upload; nothing may."""
        watched = partial(self.watched, part.task_id)
        if not part.chunks:
            # asked for when it is this answer's turn: others may be on their way before it
            return FullPending(partial(self._stand, part), watched, part, self._limit)
        waiting = await self._commit.offer(part)

        async def stored() -> Answer:
            return await waiting

        return FullPending(stored, watched, part, self._limit)

    async def _stand(self, part: Unit) -> Answer:
        """What is to be said to bytes at ``part``'s place, none of which fits."""
        head = await self.head(part.task_id)
        if head.closed and head.epoch == part.epoch:
            return Verdict.CLOSED, head
        return judge(head, Offer(part.epoch, part.offset, 0)), head

    def _settled(self, task_id: TaskId, ready: Answer) -> Pending:
        known: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        known.set_result(ready)
        return Pending(known, partial(self.watched, task_id))

    async def refuse(self, task_id: TaskId) -> Pending:
        """The answer to a sender under another epoch than its lease's.

        Raises:
            NotFoundError: there is no such log.
        """
        head = await self.head(task_id)
        return self._settled(task_id, (Verdict.WRONG_EPOCH, head))

    async def append(
        self, task_id: TaskId, epoch: int, offset: int, payload: bytes
    ) -> Ack:
        """Store encoded chunks if the log stands at ``offset`` under ``epoch``.

        The acknowledgement means durable. An empty payload asks where the log stands.

        Raises:
            UnavailableError: the database is away; send again later.
            NotFoundError: there is no such log.
        """
        pending = await self.offer(task_id, epoch, offset, payload)
        return await pending.ack()

    async def _probe(self, task_id: TaskId, epoch: int) -> Answer:
        head = await self.head(task_id)
        if epoch != head.epoch:
            return Verdict.WRONG_EPOCH, head
        return Verdict.ALREADY_THERE, head

    # --- the server's own lines ---

    async def write(
        self,
        task_id: TaskId,
        epoch: int,
        records: Sequence[SaidLine],
        start: ScriptMark,
    ) -> tuple[int, int]:
        """Append records in one piece, wherever the log stands; durable when this returns.

        ``start`` is what is known of the script where nothing stands before them.

        Returns:
            The number of its first line, and of the line that follows it.

        Raises:
            ConflictError: the log has ended, or is written under another epoch.
            UnavailableError: the database is away; send again later.
            NotFoundError: there is no such log.
        """
        unit = await self._scribe.write(task_id, epoch, records, start)
        return unit.first_line, unit.next_line

    async def note(
        self,
        tx: Tx,
        task_id: TaskId,
        text: str,
        *,
        actor: str = "",
        error: bool = False,
    ) -> None:
        """Append one line of the server; only while no agent holds a lease.

        People and services have a word in some: of theirs no control character is written.

        Raises:
            ConflictError: the log has ended.
            NotFoundError: there is no such log.
        """
        line = harmless(text).rstrip("\n").encode() + b"\n"
        await self.event(tx, task_id, Note(actor, error), line)

    async def event(self, tx: Tx, task_id: TaskId, event: Event, line: bytes) -> None:
        """Append an event of the server; only while no agent holds a lease.

        An event begins a line: where output ended without a newline, the event's bytes
        begin with one, so that the output itself stays as it was. Readers hear of it
        when the caller publishes the task's topic, or within two seconds.

        Raises:
            ConflictError: the log has ended.
            NotFoundError: there is no such log.
        """
        record = await self._known(tx, task_id)
        if record.sealed:
            raise ConflictError(f"The log of {task_id} has ended; nobody writes it.")
        if not await self._at_line_start(tx, record):
            line = b"\n" + line
        chunk = event_chunk(
            event,
            line,
            source=Source.SERVER,
            captured_us=to_micros(self._clock.now()),
        )
        unit = Unit(
            task_id,
            record.epoch,
            record.committed,
            record.next_line,
            record.committed + len(line),
            record.next_line + line.count(b"\n"),
            (placed(chunk, offset=record.committed, first_line=record.next_line),),
        )
        outcome = await self._store.put(tx, unit)
        if not outcome.accepted:
            raise ConflictError(
                f"The log of {task_id} is written by an agent at this moment;"
                " the server writes between phases only."
            )

    async def _known(self, tx: Tx, task_id: TaskId) -> LogRecord:
        record = await self._store.get(tx, task_id)
        if record is None:
            raise NotFoundError(f"There is no log of {task_id}.")
        return record

    async def _at_line_start(self, tx: Tx, record: LogRecord) -> bool:
        if record.committed == 0:
            return True
        chunks = await self._store.read_chunks(tx, record, record.committed - 1, 1)
        return chunks[-1].data.endswith(b"\n")

    # --- the end ---

    async def seal(self, task_id: TaskId, status: str) -> None:
        """Write the `end` event with the task's final status; again changes nothing.

        The hash is taken from the stored bytes, so that it speaks of what readers get.

        Raises:
            ConflictError: the log is still being written.
            NotFoundError: there is no such log.
        """
        for _ in range(SEAL_TRIES):
            view = await self._history.view(task_id)
            record = view.record
            if record.sealed:
                return
            end = await self._end_of(view, record, status)
            async with self._transactions.write() as tx:
                sealed = await self._store.seal(tx, record, end, at=self._clock.now())
            if sealed:
                self._hub.publish(log_topic(task_id))
                return
        raise ConflictError(
            f"The log of {task_id} is still being written; it cannot end yet."
        )

    async def _end_of(self, view: LogView, record: LogRecord, status: str) -> Chunk:
        sha256 = hashlib.sha256()
        last = b"\n"
        async for piece in view.pieces(0, record.committed):
            await asyncio.to_thread(sha256.update, piece)
            last = piece[-1:]
        whole_lines = record.next_line - 1
        end = End(
            total_bytes=record.committed,
            total_lines=whole_lines + (last != b"\n"),
            sha256=sha256.hexdigest(),
            status=status,
        )
        chunk = event_chunk(
            end, b"", source=Source.SERVER, captured_us=to_micros(self._clock.now())
        )
        return placed(chunk, offset=record.committed, first_line=record.next_line)

    # --- what others ask of stored output ---

    async def digest(self, task_id: TaskId, start: int, end: int) -> str:
        """SHA-256 (hex) of the log's bytes from ``start`` up to ``end``."""
        view = await self._history.view(task_id)
        sha256 = hashlib.sha256()
        async for piece in view.pieces(start, end):
            await asyncio.to_thread(sha256.update, piece)
        return sha256.hexdigest()

    async def last_line(self, task_id: TaskId, start: int, end: int) -> str:
        """The last non-empty line of output (not of events) between two offsets.

        Looks at the last 4 MiB only, and gives at most 500 characters.
        """
        view = await self._history.view(task_id)
        stop = end
        while stop > start and end - stop < LAST_LINE_BYTES:
            begin = max(start, stop - LAST_LINE_WINDOW)
            line = await _last_output_line(view, begin, stop)
            if line:
                return line[:LAST_LINE_SHOWN]
            stop = begin
        return ""


def _position(record: LogRecord) -> LogPosition:
    return LogPosition(
        epoch=record.epoch, offset=record.committed, next_line=record.next_line
    )


async def _last_output_line(view: LogView, begin: int, stop: int) -> str:
    found = ""
    at = begin
    assembler = Assembler(Position(begin, 1))
    while at < stop:
        chunks = await view.read(at, stop - at)
        if not chunks:
            break
        for chunk in chunks:
            if chunk.offset >= stop or (chunk.kind is Kind.EVENT and not chunk.data):
                break
            for run in assembler.feed(chunk):
                if run.event is None and run.start < stop:
                    found = _last_text(run.text) or found
        at = max(chunks[-1].end, at + 1)
    for run in assembler.finish():
        found = _last_text(run.text) or found
    return found


def _last_text(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").rstrip().rsplit("\n", 1)
    return lines[-1].strip()
