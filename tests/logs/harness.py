"""A server's logs without the server, and an agent's and a viewer's side of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from sluice.base.clock import SystemClock
from sluice.base.ids import TaskId, new_task_id
from sluice.db.engine import Database
from sluice.events.hub import Hub
from sluice.logs.assembly import (
    LogBacking,
    LogSystem,
    assemble_logs,
    database_backing,
    run_tails,
    run_writer,
)
from sluice.logs.dialects import DialectName
from sluice.logs.tails import from_line, from_offset
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_logs import (
    MemoryBlobs,
    MemoryChunkLane,
    MemoryLogStore,
)
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk, placed
from sluice.wire.frames import text_messages
from sluice.wire.log_flow import Ack, AckStatus

NOW_US = 1_700_000_000_123_000


def backing_of(transactions: MemoryTransactions | Database, blobs: MemoryBlobs):
    if isinstance(transactions, MemoryTransactions):
        store = MemoryLogStore(transactions)
        lane = MemoryChunkLane(transactions, store)
        return LogBacking(transactions, store, lane, blobs, spare_rows=True)
    return database_backing(transactions, blobs)


@asynccontextmanager
async def running(
    backing: LogBacking, hub: Hub | None = None, *, limit: int = 0
) -> AsyncIterator[LogSystem]:
    """One server process's logs, its loops running."""
    system = assemble_logs(
        backing,
        hub=hub or Hub(),
        clock=SystemClock(),
        registry=CollectorRegistry(),
        limit=limit,
    )
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run_writer(system)),
            group.create_task(run_tails(system)),
        ]
        await asyncio.sleep(0)
        try:
            yield system
        finally:
            for task in tasks:
                task.cancel()


async def new_log(system: LogSystem, backing: LogBacking) -> TaskId:
    task_id = new_task_id()
    async with backing.transactions.write() as tx:
        await system.logs.open(tx, task_id)
    return task_id


def output(data: bytes, *, source: Source = Source.STDOUT, at: int = NOW_US) -> Chunk:
    return Chunk(0, 1, source, Kind.OUTPUT, at, data)


@dataclass
class Agent:
    """The sending side at its simplest: it knows where it is and moves on acks."""

    system: LogSystem
    task_id: TaskId
    epoch: int = 0
    offset: int = 0
    line: int = 1

    def place(self, chunks: Iterable[Chunk]) -> tuple[int, bytes]:
        """The next upload: its offset and encoded chunks; moves on as if acknowledged."""
        at = self.offset
        encoded = []
        for chunk in chunks:
            here = placed(chunk, offset=self.offset, first_line=self.line)
            encoded.append(encode_chunk(here))
            self.offset, self.line = here.end, here.next_line
        return at, b"".join(encoded)

    async def send(self, *chunks: Chunk) -> Ack:
        at, payload = self.place(chunks)
        ack = await self.system.logs.append(self.task_id, self.epoch, at, payload)
        assert ack.status is AckStatus.OK, ack
        return ack

    async def say(self, text: str | bytes, source: Source = Source.STDOUT) -> Ack:
        data = text.encode() if isinstance(text, str) else text
        return await self.send(output(data, source=source))


async def read_text(system: LogSystem, task_id: TaskId, offset: int = 0) -> bytes:
    """Follow as plain bytes to the end."""
    found = []
    async with system.tails.read(
        task_id, DialectName.TEXT, from_offset(offset)
    ) as reader:
        while (payload := await reader.next()) is not None:
            found.append(payload)
    return b"".join(found)


async def frames_of(
    system: LogSystem,
    task_id: TaskId,
    after: int | None = 0,
    dialect: DialectName = DialectName.BATCH,
) -> list[dict]:
    """Follow as WebSocket frames to the end."""
    found = []
    async with system.tails.read(task_id, dialect, from_line(after)) as reader:
        while (payload := await reader.next()) is not None:
            found += [json.loads(text) for text in text_messages(payload)]
    return found


def lines_of(frames: list[dict]) -> list[tuple[int, str]]:
    """(number, text) of all lines, checking that batches are what they say."""
    lines: list[tuple[int, str]] = []
    for frame in frames:
        if frame["type"] == "batch":
            assert frame["next_line"] - frame["first_line"] == len(frame["lines"])
            lines += [
                (number, line[3])
                for number, line in enumerate(frame["lines"], frame["first_line"])
            ]
        else:
            lines.append((frame["line_num"], frame["line"]))
    return lines


def expected_lines(data: bytes) -> list[tuple[int, str]]:
    """What a reader of lines must see of these bytes."""
    texts = data.decode("utf-8", "replace").split("\n")
    if not texts[-1]:
        texts.pop()
    return list(enumerate(texts, 1))
