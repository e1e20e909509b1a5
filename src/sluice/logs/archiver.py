"""Moves ended logs into archived objects, checks them, and only then lets their rows go.

It exists so that the database stays small and a log stays readable for good. It may stop
at any point: an object that was not checked is written again, and rows that were not yet
deleted are found at the next start.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from sluice.base.clock import Clock
from sluice.base.errors import SluiceError
from sluice.base.ids import TaskId
from sluice.logs.archive import ArchiveError, ArchiveWriter, Footer
from sluice.logs.history import PIECE_BYTES, DamagedLogError, History, LogView
from sluice.logs.metrics import ArchiveMetrics
from sluice.logs.model import LogRecord, day_of
from sluice.logs.ports import BlobPort

ROUND_SECONDS = 2.0
DAYS_SECONDS = 600.0
ARCHIVE_AFTER = timedelta(seconds=5)
RETRY_AFTER = timedelta(minutes=1)
LOGS_A_ROUND = 20
ROWS_A_DELETE = 16
FRAMES_A_CHECK = 4
LONGEST_REST_SECONDS = 0.1

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ArchiverParts:
    """What archiving needs.

    Attributes:
        history: reads the rows, and the object back.
        blobs: where objects go.
        clock: tells what is old enough.
        metrics: what is counted.
        spare_rows: whether rows go a log at a time (SQLite) or only with their whole day
            (PostgreSQL).
        scratch: directory for the file that is being made; None for the system's.
        after: how long a log stays in rows after its end.
    """

    history: History
    blobs: BlobPort
    clock: Clock
    metrics: ArchiveMetrics
    spare_rows: bool
    scratch: Path | None = None
    after: timedelta = ARCHIVE_AFTER


@dataclass(slots=True)
class Archiver:
    """The loop's state: what failed lately, and what it is doing now."""

    parts: ArchiverParts
    doing: str = "not started"
    _retry: dict[TaskId, float] = field(default_factory=dict)
    _days_at: float = 0.0

    async def run(self) -> None:
        """Archive what ended, round after round, until cancelled."""
        await self._guarded(self.sweep())
        while True:
            await self._guarded(self.round())
            self.doing = "waits for logs that ended"
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> int:
        """Archive all logs that are old enough; how many there were."""
        parts = self.parts
        now = parts.clock.monotonic()
        before = parts.clock.now() - parts.after
        async with parts.history.transactions.read() as tx:
            ended = await parts.history.store.archivable(
                tx, sealed_before=before, limit=LOGS_A_ROUND + len(self._retry)
            )
        self._tell_oldest(ended)
        done = 0
        for record in ended:
            if self._retry.get(record.task_id, now) > now:
                continue
            self.doing = f"archives the log of {record.task_id}"
            try:
                await archive_log(parts, record)
            except (SluiceError, ArchiveError):
                self._retry[record.task_id] = now + RETRY_AFTER.total_seconds()
                parts.metrics.failed()
                _logger.exception(
                    "a log could not be archived; its rows stay", task_id=record.task_id
                )
                continue
            self._retry.pop(record.task_id, None)
            parts.metrics.archived()
            done += 1
        if now >= self._days_at:
            self._days_at = now + DAYS_SECONDS
            await self._drop_days()
        return done

    def _tell_oldest(self, ended: Sequence[LogRecord]) -> None:
        oldest = ended[0].sealed_at if ended else None
        now = self.parts.clock.now()
        waited = (now - (oldest or now)).total_seconds()
        self.parts.metrics.oldest(waited)

    async def sweep(self) -> None:
        """Delete rows that an earlier run left behind."""
        if not self.parts.spare_rows:
            return
        history = self.parts.history
        async with history.transactions.read() as tx:
            left = await history.store.leftovers(tx, LOGS_A_ROUND)
        for task_id in left:
            self.doing = f"deletes rows of {task_id}"
            await delete_rows(self.parts, task_id)

    async def _drop_days(self) -> None:
        self.doing = "looks for days whose logs are all archived"
        history = self.parts.history
        # yesterday may still be today on another server
        before = day_of(self.parts.clock.now()) - 1
        async with history.transactions.write() as tx:
            dropped = await history.store.drop_days(tx, before=before)
        if dropped:
            _logger.info("days of output were dropped", days=dropped)

    async def _guarded(self, work: Awaitable[object]) -> None:
        try:
            await work
        except (SluiceError, SQLAlchemyError, OSError) as error:
            _logger.warning("archiving waits", reason=str(error))


async def archive_log(parts: ArchiverParts, record: LogRecord) -> None:
    """Write a sealed log's object, check it, switch readers to it, and let rows go.

    Raises:
        ArchiveError: what was stored is not what the log's `end` says.
        DamagedLogError: rows are missing, or the object reads back differently.
        UnavailableError: the blob store is away.
    """
    key = f"logs/{record.task_id}.slz"
    with tempfile.TemporaryDirectory(dir=parts.scratch, prefix="sluice-log-") as name:
        path = Path(name) / "log.slz"
        footer = await _write(parts, record, path)
        _expect(footer, record)
        await parts.blobs.put(key, path)
    await _check(parts, record, key)
    history = parts.history
    async with history.transactions.write() as tx:
        await history.store.set_archived(
            tx, record.task_id, blob_key=key, at=parts.clock.now()
        )
    if parts.spare_rows:
        await delete_rows(parts, record.task_id)


async def delete_rows(parts: ArchiverParts, task_id: TaskId) -> None:
    """Delete an archived log's rows a few at a time, so that writers need not wait."""
    history = parts.history
    while True:
        async with _leisurely(), history.transactions.write() as tx:
            gone = await history.store.delete_chunks(tx, task_id, ROWS_A_DELETE)
        if gone < ROWS_A_DELETE:
            return


async def _write(parts: ArchiverParts, record: LogRecord, path: Path) -> Footer:
    view = LogView(parts.history, record)
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        at = 0
        ended = False
        while not ended:
            async with _leisurely():
                chunks = await view.read(at, PIECE_BYTES)
                if not chunks:
                    raise ArchiveError("the `end` is missing")
                ended = not chunks[-1].data
                at = chunks[-1].end
                await asyncio.to_thread(writer.add, chunks)
        return await asyncio.to_thread(writer.finish)


async def _check(parts: ArchiverParts, record: LogRecord, key: str) -> None:
    """Read the whole object back by its index and hash what it holds."""
    history = parts.history
    history.forget(key)
    index = await history.index(key)
    _expect(index.footer, record)
    sha256 = hashlib.sha256()
    at, line = 0, 1
    entries = list(index.entries)
    for first in range(0, len(entries), FRAMES_A_CHECK):
        async with _leisurely():
            group = entries[first : first + FRAMES_A_CHECK]
            for chunk in await history.frames(key, group):
                if (chunk.offset, chunk.first_line) != (at, line):
                    raise DamagedLogError(f"The object {key} has a gap at byte {at}.")
                sha256.update(chunk.data)
                at, line = chunk.end, chunk.next_line
    if at != record.committed or sha256.hexdigest() != record.sha256:
        raise DamagedLogError(f"The object {key} reads back differently.")


def _expect(footer: Footer, record: LogRecord) -> None:
    found = (footer.total_bytes, footer.next_line, footer.sha256)
    if found != (record.committed, record.next_line, record.sha256):
        raise ArchiveError(
            f"the stored output of {record.task_id} is not what its end says:"
            f" {footer.total_bytes} bytes of {record.committed}"
        )


@asynccontextmanager
async def _leisurely() -> AsyncIterator[None]:
    """Rest as long as the work took: it competes with live output for the same cores."""
    clock = asyncio.get_running_loop().time
    began = clock()
    yield
    await asyncio.sleep(min(clock() - began, LONGEST_REST_SECONDS))
