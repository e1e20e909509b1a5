"""How fast the log's parts are by themselves: encode, append, follow, replay, archive.

.venv/bin/python -m bench.micro_logs [encode] [append] [latency] [replay] [postgres]
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry

from sluice.base.clock import SystemClock, to_micros
from sluice.base.ids import TaskId, new_task_id
from sluice.blobs.store import open_local_blobs
from sluice.db.engine import Database, connection_of, open_database
from sluice.events.hub import Hub
from sluice.logs.archiver import archive_log
from sluice.logs.assembly import (
    LogSystem,
    assemble_logs,
    database_backing,
    run_tails,
    run_writer,
)
from sluice.logs.dialects import DIALECTS, DialectName
from sluice.logs.lines import Assembler
from sluice.logs.model import Position
from sluice.logs.tails import from_line, from_offset
from sluice.testing.postgres import postgres
from sluice.testing.schema import declared_tables
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk, placed

LINE = 100


def text(lines: int) -> bytes:
    """Terraform-like output of 100-byte lines."""
    rng = random.Random(1)
    kinds = (
        'aws_s3_bucket.logs[{n}]: Creating... name = "bucket-{n}" tags = {{ env = "prod" }}',
        "\x1b[0m\x1b[1maws_instance.web[{n}]: Still creating... [{n}s elapsed]\x1b[0m",
        '  + resource "aws_subnet" "private_{n}" {{ cidr_block = "10.0.0.0/16" }}',
        "data.aws_iam_policy_document.x[{n}]: Read complete after 0s",
    )
    made = []
    for number in range(lines):
        line = rng.choice(kinds).format(n=number)
        made.append(f"{line} {rng.getrandbits(200):050x}"[: LINE - 1].ljust(LINE - 1))
    return "\n".join(made).encode() + b"\n"


def pieces(data: bytes, size: int) -> list[Chunk]:
    """Chunks of about ``size`` bytes, cut at newlines, in their places."""
    chunks = []
    at, line = 0, 1
    while at < len(data):
        end = data.rfind(b"\n", at, at + size) + 1 or len(data)
        chunk = Chunk(at, line, Source.STDOUT, Kind.OUTPUT, 1, data[at:end])
        chunks.append(chunk)
        at, line = chunk.end, chunk.next_line
    return chunks


def report(name: str, value: float, unit: str) -> None:
    """One result."""
    print(f"{name:58s} {value:10.2f} {unit}", flush=True)


def encode() -> None:
    """Chunks to frames, on one core."""
    data = text(100_000)
    chunks = pieces(data, 128 * 1024)
    for name in (DialectName.BATCH, DialectName.LIVE):
        dialect = DIALECTS[name]
        best = 9.0
        for _ in range(5):
            started = time.process_time()
            assembler = Assembler(Position(0, 1))
            for chunk in chunks:
                dialect.wrap(dialect.segments(assembler.feed(chunk)))
            best = min(best, time.process_time() - started)
        report(f"encode {name}", len(data) / LINE / best / 1e6, "M lines/s")


@asynccontextmanager
async def started(database: Database, home: Path) -> AsyncIterator[LogSystem]:
    """Running logs."""
    backing = database_backing(database, open_local_blobs(home / "blobs"))
    system = assemble_logs(
        backing, hub=Hub(), clock=SystemClock(), registry=CollectorRegistry()
    )
    async with asyncio.TaskGroup() as group:
        loops = [
            group.create_task(run_writer(system)),
            group.create_task(run_tails(system)),
        ]
        await asyncio.sleep(0)
        yield system
        for loop in loops:
            loop.cancel()


async def new_log(system: LogSystem, database: Database) -> TaskId:
    """An open log."""
    task_id = new_task_id()
    async with database.write() as tx:
        await system.logs.open(tx, task_id)
    return task_id


async def append(
    system: LogSystem, database: Database, data: bytes, size: int
) -> TaskId:
    """One log at full speed, 8 MiB on their way at a time."""
    task_id = await new_log(system, database)
    encoded = [(chunk.offset, encode_chunk(chunk)) for chunk in pieces(data, size)]
    waiting: list = []
    started_at, cpu = time.perf_counter(), time.process_time()
    for offset, payload in encoded:
        waiting.append(await system.logs.offer(task_id, 0, offset, payload))
        if len(waiting) > 8 * 1024 * 1024 // size:
            await waiting.pop(0).ack()
    for one in waiting:
        await one.ack()
    seconds = time.perf_counter() - started_at
    report(f"append {size >> 10} KiB chunks", len(data) / seconds / 1e6, "MB/s")
    cpu = time.process_time() - cpu
    report("  by its CPU alone", len(data) / cpu / 1e6, "MB/s")
    return task_id


async def latency(system: LogSystem, database: Database, rate: int) -> None:
    """A line's way from its upload to a reader at the head."""
    task_id = await new_log(system, database)
    clock = SystemClock()
    lags: list[float] = []

    async def follow() -> None:
        async with system.tails.read(
            task_id, DialectName.TEXT, from_offset(0)
        ) as reader:
            while (payload := await reader.next()) is not None:
                now = time.perf_counter()
                lags.extend(now - float(line) for line in payload.splitlines())

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        await asyncio.sleep(0.05)
        at, line = 0, 1
        for _ in range(200 if rate < 100 else 1000):
            data = f"{time.perf_counter():.9f}\n".encode()
            chunk = Chunk(
                0, 1, Source.STDOUT, Kind.OUTPUT, to_micros(clock.now()), data
            )
            here = placed(chunk, offset=at, first_line=line)
            await system.logs.append(task_id, 0, at, encode_chunk(here))
            at, line = here.end, here.next_line
            await asyncio.sleep(1 / rate)
        await system.logs.seal(task_id, "success")
    lags.sort()
    report(f"upload to reader at {rate}/s, p50", statistics.median(lags) * 1e3, "ms")
    report("  p99", lags[int(len(lags) * 0.99)] * 1e3, "ms")


async def replay(system: LogSystem, task_id: TaskId, size: int, name: str) -> None:
    """The whole log to one reader, and one line of it."""
    for dialect in (DialectName.BATCH, DialectName.TEXT):
        started_at, cpu = time.perf_counter(), time.process_time()
        async with system.tails.read(task_id, dialect, from_line(0)) as reader:
            while await reader.next() is not None:
                pass
        seconds = time.perf_counter() - started_at
        cpu = time.process_time() - cpu
        report(f"replay {name} as {dialect}", size / seconds / 1e6, "MB/s of log")
        report("  by its CPU alone", size / cpu / 1e6, "MB/s of log")
    for what, after in (("last screen", None), ("line by number", size // LINE // 2)):
        started_at = time.perf_counter()
        async with system.tails.read(
            task_id, DialectName.BATCH, from_line(after)
        ) as reader:
            await reader.next()
        report(f"  {what}", (time.perf_counter() - started_at) * 1e3, "ms")


async def store(wanted: set[str], database: Database, home: Path, kind: str) -> None:
    """Everything that needs a database."""
    print(f"--- {kind}")
    async with started(database, home) as system:
        data = text(1_000_000)
        task_id = await append(system, database, data, 64 * 1024)
        await append(system, database, data, 256 * 1024)
        await append(system, database, data[:5_000_000], 1024)
        if "latency" in wanted:
            await latency(system, database, 20)
            await latency(system, database, 200)
        if "replay" in wanted:
            await system.logs.seal(task_id, "success")
            await replay(system, task_id, len(data), "rows")
            record = (await system.logs.view(task_id)).record
            began = time.perf_counter()
            await archive_log(system.archiver.parts, record)
            report("archive", len(data) / (time.perf_counter() - began) / 1e6, "MB/s")
            await replay(system, task_id, len(data), "archive")


async def main(wanted: set[str]) -> None:
    """What was asked for, on SQLite or PostgreSQL."""
    if "encode" in wanted:
        encode()
    if not wanted & {"append", "latency", "replay"}:
        return
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if "postgres" in wanted:
            server = stack.enter_context(postgres())
            database = open_database(server.url("postgres"))
        else:
            database = open_database(f"sqlite+aiosqlite:///{home}/sluice.db")
        async with database.write() as tx:
            await connection_of(tx).run_sync(declared_tables().create_all)
        await store(wanted, database, home, database.dialect)
        await database.close()


if __name__ == "__main__":
    asked = set(sys.argv[1:]) or {"encode", "append", "latency", "replay"}
    uvloop.run(main(asked))
