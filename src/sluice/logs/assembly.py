"""Puts a server's logs together: store, writer, group commit, tails and archiver."""

from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.db.engine import Database
from sluice.events.hub import Hub
from sluice.events.topics import log_topic
from sluice.logs.archiver import Archiver, ArchiverParts
from sluice.logs.history import History
from sluice.logs.logbook import LogParts, Logs
from sluice.logs.loop import GroupCommit
from sluice.logs.metrics import ArchiveMetrics, LogMetrics
from sluice.logs.model import Unit
from sluice.logs.ports import BlobPort, ChunkLane, LogStore
from sluice.logs.ring import RingBudget
from sluice.logs.sqlite_lane import SqliteChunkLane
from sluice.logs.store import SqlLogStore
from sluice.logs.tail import TailParts
from sluice.logs.tails import Tails

RINGS_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogBacking:
    """Where logs are kept.

    Attributes:
        transactions: opens transactions for ``store``.
        store: records and chunk rows.
        lane: the fast way to append and to read.
        blobs: where archived objects lie.
        spare_rows: whether an archived log's rows are deleted one log at a time.
    """

    transactions: Transactions
    store: LogStore
    lane: ChunkLane
    blobs: BlobPort
    spare_rows: bool


@dataclass(frozen=True, slots=True)
class LogSystem:
    """A server's logs. Run `run_writer`, `run_tails` and `run_archiver` beside each other."""

    logs: Logs
    tails: Tails
    commit: GroupCommit
    archiver: Archiver
    lane: ChunkLane


def database_backing(database: Database, blobs: BlobPort) -> LogBacking:
    """Logs in a database and a blob store."""
    lane: ChunkLane
    if database.dialect == "postgresql":
        # the driver is an extra that a SQLite server need not have
        from sluice.logs.postgres_lane import PostgresChunkLane

        lane = PostgresChunkLane(database)
    else:
        lane = SqliteChunkLane(database)
    return LogBacking(
        database, SqlLogStore(), lane, blobs, spare_rows=database.dialect == "sqlite"
    )


def assemble_logs(
    backing: LogBacking,
    *,
    hub: Hub,
    clock: Clock,
    registry: CollectorRegistry,
    scratch: Path | None = None,
    limit: int = 0,
) -> LogSystem:
    """All parts of a server's logs, not yet running; ``limit``: see `LogParts`."""
    history = History(backing.transactions, backing.store, backing.lane, backing.blobs)
    metrics = LogMetrics(registry)
    tails = Tails(TailParts(history, hub, clock, RingBudget(RINGS_BYTES), metrics))

    def on_durable(unit: Unit) -> None:
        tails.offer(unit)
        hub.publish(log_topic(unit.task_id))

    commit = GroupCommit(backing.lane, on_durable=on_durable)
    archiver = Archiver(
        ArchiverParts(
            history,
            backing.blobs,
            clock,
            ArchiveMetrics(registry),
            spare_rows=backing.spare_rows,
            scratch=scratch,
        )
    )
    logs = Logs(LogParts(history, commit, tails, hub, clock, limit))
    return LogSystem(logs, tails, commit, archiver, backing.lane)


async def run_writer(system: LogSystem) -> None:
    """Commit uploads until cancelled; then give the database connection back."""
    try:
        await system.commit.run()
    finally:
        await system.lane.close()


async def run_tails(system: LogSystem) -> None:
    """Follow watched logs until cancelled."""
    await system.tails.run()


async def run_archiver(system: LogSystem) -> None:
    """Archive ended logs until cancelled."""
    await system.archiver.run()
