"""What the engine does with a new SQLite file."""

import multiprocessing
import sqlite3
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from sluice.db import engine


def turn_on_wal(path: str, ready: Barrier) -> None:
    """As one of several first starts does."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    ready.wait(30)
    engine._use_wal(connection.cursor())
    connection.execute("CREATE TABLE IF NOT EXISTS met (x)")
    connection.close()


def test_first_starts_at_one_moment_do_not_lock_each_other_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(20):
        path = str(tmp_path / f"{attempt}.db")
        ready = context.Barrier(4)
        starts = [
            context.Process(target=turn_on_wal, args=(path, ready)) for _ in range(4)
        ]
        for start in starts:
            start.start()
        for start in starts:
            start.join(60)
        assert [start.exitcode for start in starts] == [0, 0, 0, 0]


class Locked:
    """A cursor to whom the file is always locked."""

    def execute(self, statement: str) -> None:
        if statement == "PRAGMA journal_mode=WAL":
            raise sqlite3.OperationalError("database is locked")

    def fetchone(self) -> tuple[str]:
        return ("delete",)


def test_a_file_that_stays_locked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_WAL_PAUSE", 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        engine._use_wal(Locked())
