"""A log book in memory, as far as tasks see it (`tasks.ports.LogBook`)."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.logs.records import record_chunks
from sluice.testing.memory import MemoryTransactions
from sluice.wire.agent import LogPosition
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Event, Note
from sluice.wire.log_flow import Head
from sluice.wire.script_mark import SaidLine, ScriptMark


@dataclass(frozen=True)
class Record:
    """One log: its chunks in order and who may write."""

    epoch: int = 0
    chunks: tuple[Chunk, ...] = ()
    status: str | None = None

    @property
    def data(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def next_line(self) -> int:
        return 1 + self.data.count(b"\n")


class MemoryLogBook:
    """Logs in a dict that rolls back with in-memory transactions."""

    def __init__(self, transactions: MemoryTransactions | None) -> None:
        rows: dict[TaskId, Record] = {}
        self.rows = transactions.table(rows) if transactions else rows
        self.down: Exception | None = None

    def _record(self, task_id: TaskId) -> Record:
        if task_id not in self.rows:
            raise NotFoundError(f"There is no log of {task_id}.")
        return self.rows[task_id]

    async def open(self, tx: Tx, task_id: TaskId) -> None:
        self.rows.setdefault(task_id, Record())

    async def remove(self, tx: Tx, task_id: TaskId) -> str | None:
        del self.rows[task_id]
        return f"logs/{task_id}.slz"

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogPosition:
        record = self._record(task_id)
        if record.status is not None:
            raise ConflictError(f"The log of {task_id} has ended.")
        record = replace(record, epoch=record.epoch + 1)
        self.rows[task_id] = record
        return LogPosition(
            epoch=record.epoch, offset=len(record.data), next_line=record.next_line
        )

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, LogPosition]:
        going = [i for i in task_ids if i in self.rows and not self.rows[i].status]
        return {task_id: await self.hand_over(tx, task_id) for task_id in going}

    async def note(
        self,
        tx: Tx,
        task_id: TaskId,
        text: str,
        *,
        actor: str = "",
        error: bool = False,
    ) -> None:
        await self.event(tx, task_id, Note(actor, error), f"{text}\n".encode())

    async def event(self, tx: Tx, task_id: TaskId, event: Event, line: bytes) -> None:
        epoch = self._record(task_id).epoch
        chunk = event_chunk(event, line, source=Source.SERVER, captured_us=0)
        self.append(task_id, epoch, [chunk])

    def append(self, task_id: TaskId, epoch: int, chunks: Sequence[Chunk]) -> None:
        """What an upload does: refused for anybody but the present writer."""
        record = self._record(task_id)
        if record.status is not None or record.epoch != epoch:
            raise ConflictError(f"epoch {epoch} may not write {task_id}")
        at, line = len(record.data), record.next_line
        for chunk in chunks:
            put = placed(chunk, offset=at, first_line=line)
            at, line = put.end, put.next_line
            record = replace(record, chunks=(*record.chunks, put))
        self.rows[task_id] = record

    async def write(
        self,
        task_id: TaskId,
        epoch: int,
        records: Sequence[SaidLine],
        start: ScriptMark,
    ) -> tuple[int, int]:
        first = self._record(task_id).next_line
        self.append(task_id, epoch, record_chunks(records, start))
        return first, self._record(task_id).next_line

    async def seal(self, task_id: TaskId, status: str) -> None:
        if self.down is not None:
            raise self.down
        record = self._record(task_id)
        if record.status is None:
            self.rows[task_id] = replace(record, status=status)

    async def head(self, task_id: TaskId) -> Head:
        record = self._record(task_id)
        return Head(
            record.epoch, len(record.data), record.next_line, record.status is not None
        )

    async def digest(self, task_id: TaskId, start: int, end: int) -> str:
        return hashlib.sha256(self._record(task_id).data[start:end]).hexdigest()

    async def last_line(self, task_id: TaskId, start: int, end: int) -> str:
        output = b"".join(
            chunk.data
            for chunk in self._record(task_id).chunks
            if chunk.kind is Kind.OUTPUT and start <= chunk.offset < end
        )
        lines = [line for line in output.decode().split("\n") if line.strip()]
        return lines[-1] if lines else ""

    # --- what tests ask ---

    def text(self, task_id: TaskId) -> str:
        return self._record(task_id).data.decode()

    def events(self, task_id: TaskId) -> list[Event]:
        found = (chunk.event for chunk in self._record(task_id).chunks)
        return [event for event in found if event is not None]

    def status(self, task_id: TaskId) -> str | None:
        return self._record(task_id).status
