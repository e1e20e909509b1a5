"""Appends chunks to SQLite and reads them from threads of its own: one hop a call.

The connection checkpoints nothing while it commits; `tidy` does that in a second
thread. Only when the write-ahead log has grown large because writing never pauses does
the writing thread itself copy the short rest, so that the log can begin anew.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sluice.base.errors import UnavailableError
from sluice.db.engine import Database
from sluice.logs.model import LogRecord, Outcome, RefusedOutputError, Unit
from sluice.logs.store import MAX_ROWS, chunk_of, rows_of
from sluice.wire.chunk import Chunk
from sluice.wire.log_flow import Head

CHECKPOINT_BYTES = 8 * 1024 * 1024
RESTART_BYTES = 64 * 1024 * 1024
PAGE_BYTES = 4096
READERS = 2

_COLUMNS = (
    "task_id",
    "day",
    "offset",
    "length",
    "first_line",
    "newlines",
    "source",
    "kind",
    "captured_us",
    "crc",
    "meta",
    "data",
)
_ADVANCE = (
    "UPDATE logs SET committed = ?, next_line = ? WHERE task_id = ? AND epoch = ?"
    " AND committed = ? AND next_line = ? AND NOT sealed RETURNING day"
)
_HEAD = "SELECT epoch, committed, next_line, sealed FROM logs WHERE task_id = ?"
_PUT = (
    f"INSERT INTO log_chunks ({', '.join(_COLUMNS)})"  # noqa: S608 - constants
    f" VALUES ({', '.join(':' + name for name in _COLUMNS)})"
)
_READ = f"""
SELECT offset, first_line, source, kind, captured_us, data, meta FROM log_chunks
WHERE task_id = ?1 AND day = ?2
  AND offset >= (
    SELECT max(offset) FROM log_chunks WHERE task_id = ?1 AND day = ?2 AND offset <= ?3
  )
  AND offset < ?3 + ?4 AND (offset + length > ?3 OR offset = ?3)
ORDER BY offset LIMIT {MAX_ROWS}
"""  # noqa: S608 - constants


class SqliteChunkLane:
    """`ChunkLane` on a SQLite file. Close it at the end.

    Args:
        database: the database; its turn to write is taken for each group.
    """

    def __init__(self, database: Database) -> None:
        path = database.engine.url.database
        if not path or path == ":memory:":
            raise ValueError("chunks need a SQLite file, not a database in memory")
        self._database = database
        self._path = path
        self._uncopied = 0
        self._thread = ThreadPoolExecutor(1, "log-writer")
        self._beside = ThreadPoolExecutor(1, "log-checkpoint")
        self._readers = ThreadPoolExecutor(READERS, "log-reader")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._connection: sqlite3.Connection | None = None
        self._checkpointer: sqlite3.Connection | None = None

    async def append_many(self, units: Sequence[Unit]) -> list[Outcome]:
        """Store each unit whose log stands where the unit says."""
        loop = asyncio.get_running_loop()
        try:
            async with self._database.turn():
                return await loop.run_in_executor(self._thread, self._append, units)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            raise RefusedOutputError(
                f"The log could not be stored: the database refuses it ({error})."
            ) from error
        except sqlite3.Error as error:
            raise UnavailableError(
                f"The log could not be stored ({error}); the sender tries again."
            ) from error

    async def read_chunks(
        self, log: LogRecord, offset: int, budget: int
    ) -> list[Chunk]:
        """Chunks in order from the one that holds byte ``offset``."""
        loop = asyncio.get_running_loop()
        where = (log.task_id, log.day, offset, max(budget, 1))
        try:
            return await loop.run_in_executor(self._readers, self._read, where)
        except sqlite3.Error as error:
            raise UnavailableError(
                f"The log could not be read ({error}); try again."
            ) from error

    async def tidy(self) -> None:
        """Copy the write-ahead log into the database file where it has grown."""
        loop = asyncio.get_running_loop()
        try:
            if self._uncopied < CHECKPOINT_BYTES:
                return
            rest = await loop.run_in_executor(self._beside, self._checkpoint)
            if rest:
                async with self._database.turn():
                    await loop.run_in_executor(self._thread, self._checkpoint_rest)
        except sqlite3.Error as error:
            raise UnavailableError(
                f"The database could not be checkpointed ({error})."
            ) from error

    async def close(self) -> None:
        """Finish what is under way and give back connections and threads."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close_writer)
        await loop.run_in_executor(self._beside, self._close_checkpointer)
        for pool in (self._thread, self._beside, self._readers):
            await asyncio.to_thread(pool.shutdown)
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    # --- in the writing thread ---

    def _append(self, units: Sequence[Unit]) -> list[Outcome]:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._append_one(connection, unit) for unit in units]
            connection.execute("COMMIT")
            self._uncopied += sum(unit.end - unit.offset for unit in units)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _append_one(self, connection: sqlite3.Connection, unit: Unit) -> Outcome:
        where = (unit.task_id, unit.epoch, unit.offset, unit.first_line)
        days = connection.execute(
            _ADVANCE, (unit.end, unit.next_line, *where)
        ).fetchall()
        if not days:
            row = connection.execute(_HEAD, (unit.task_id,)).fetchone()
            head = None if row is None else Head(row[0], row[1], row[2], bool(row[3]))
            return Outcome(False, head)
        connection.executemany(_PUT, rows_of(unit, days[0][0]))
        return Outcome(True, unit.after)

    def _checkpoint_rest(self) -> None:
        if self._connection is not None:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _close_writer(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- in the reading threads ---

    def _read(self, where: tuple[str, int, int, int]) -> list[Chunk]:
        connection: sqlite3.Connection | None = getattr(self._local, "open", None)
        if connection is None:
            connection = self._local.open = self._connect()
            self._opened.append(connection)
        return [chunk_of(row) for row in connection.execute(_READ, where)]

    # --- in the thread beside it ---

    def _checkpoint(self) -> bool:
        """Copy what is there; True where the log is long, so that it should begin anew."""
        if self._checkpointer is None:
            self._checkpointer = self._connect()
        self._uncopied = 0
        rows = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        pages: int = rows[0][1]
        return pages * PAGE_BYTES > RESTART_BYTES

    def _close_checkpointer(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=5000",
            "wal_autocheckpoint=0",
            f"journal_size_limit={RESTART_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection
