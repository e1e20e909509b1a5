"""The engine and its transactions: SQLite with BEGIN IMMEDIATE for writes, or PostgreSQL."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import MetaData, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sluice.base.transactions import CommitWatch, Tx

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_WAL_ATTEMPTS = 100
_WAL_PAUSE = 0.02


Last = Callable[[], Awaitable[None]]


class SqlTx(Tx):
    """A transaction on a database connection.

    Attributes:
        last: what is done right before it is committed, in this order: for locks that
            all writers want, so that nobody waits for anything else while holding them.
    """

    def __init__(self, connection: AsyncConnection, *, writable: bool = False) -> None:
        self.connection = connection
        self.writable = writable
        self.last: list[Last] = []


def connection_of(tx: Tx) -> AsyncConnection:
    """The connection of a transaction that a `Database` opened (for stores)."""
    if not isinstance(tx, SqlTx):
        raise TypeError(f"{type(tx).__name__} is no database transaction")
    return tx.connection


class Database:
    """Short transactions on one engine.

    A write transaction holds SQLite's only write lock: do slow work (blobs, network)
    outside it.

    Attributes:
        watch: told of every write transaction right before and after it is committed.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.watch: CommitWatch | None = None
        self._line = asyncio.Lock() if self.dialect == "sqlite" else None
        self._writer: asyncio.Task[Any] | None = None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTx]:
        """A transaction that only reads."""
        async with self.engine.connect() as connection, connection.begin():
            yield SqlTx(connection)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait in line to write; only SQLite makes anybody wait.

        SQLite has one writer at a time, and who comes second polls for the lock in no
        order: under a busy writer others would starve. Here those of one process stand
        in line; other processes are still kept apart by SQLite's own lock.

        Raises:
            RuntimeError: this asyncio task has its turn already, and would wait for ever.
        """
        if self._line is None:
            yield
            return
        task = asyncio.current_task()
        if task is not None and self._writer is task:
            raise RuntimeError("a write transaction inside one of the same task")
        async with self._line:
            self._writer = task
            try:
                yield
            finally:
                self._writer = None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTx]:
        """A transaction that may write: committed at the end, rolled back on an error."""
        async with self.turn(), self.engine.connect() as plain:
            connection = await plain.execution_options(write=True)
            tx = SqlTx(connection, writable=True)
            async with connection.begin():
                yield tx
                if self.watch is not None:
                    await self.watch.before_commit(tx)
                for finish in tx.last:
                    await finish()
            if self.watch is not None:
                self.watch.committed(tx)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """A database for a SQLAlchemy URL (`sqlite+aiosqlite:///…`, `postgresql+asyncpg://…`)."""
    if url.startswith("sqlite"):
        engine = create_async_engine(url, pool_size=pool_size)
        _prepare_sqlite(engine)
    else:
        engine = create_async_engine(url, pool_size=pool_size, pool_pre_ping=True)
    return Database(engine)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=5000")
        _use_wal(cursor)
        for pragma in (
            "foreign_keys=ON",
            "synchronous=FULL",
            # a checkpoint belongs to nobody's commit: `logs` makes them beside the writes
            "wal_autocheckpoint=16000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _use_wal(cursor: Any) -> None:
    """Turn write-ahead logging on, once for the life of the file.

    SQLite answers "locked" at once, whatever the busy time-out, when two connections do
    this to a new file at the same moment; then the other one has done it soon.
    """
    for attempt in range(_WAL_ATTEMPTS):
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] in {"wal", "memory"}:
            return
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(_WAL_PAUSE)
