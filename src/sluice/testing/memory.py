"""Transactions over plain dicts: one at a time, all or nothing, as the stores' twins need them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sluice.base.transactions import CommitWatch, Tx

Key = TypeVar("Key")
Row = TypeVar("Row")


class MemoryTx(Tx):
    """An open transaction on `MemoryTransactions`."""

    def __init__(self, *, writable: bool) -> None:
        self.writable = writable
        self.open = True


class MemoryTransactions:
    """The in-memory twin of `Database`.

    A memory store registers its dicts by `table`; rows must be immutable. Transactions
    run one after the other (readers too, so nobody sees what is not committed). A
    transaction inside a transaction of the same asyncio task would wait for itself for
    ever, on SQLite as well, and is refused here.

    Attributes:
        watch: told of every write transaction right before and after it is kept.
    """

    def __init__(self) -> None:
        self.watch: CommitWatch | None = None
        self._tables: list[dict[Any, Any]] = []
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None

    def table(self, rows: dict[Key, Row]) -> dict[Key, Row]:
        """Register ``rows``: a failed write transaction puts them back."""
        self._tables.append(rows)
        return rows

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTx]:
        """A transaction that only reads."""
        async with self._alone(MemoryTx(writable=False)) as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[MemoryTx]:
        """A transaction that may write: kept at the end, undone on an error."""
        async with self._alone(MemoryTx(writable=True)) as tx:
            before = [dict(rows) for rows in self._tables]
            try:
                yield tx
                if self.watch is not None:
                    await self.watch.before_commit(tx)
            except BaseException:
                for rows, old in zip(self._tables, before, strict=False):
                    rows.clear()
                    rows.update(old)
                raise
        if self.watch is not None:
            self.watch.committed(tx)

    @asynccontextmanager
    async def _alone(self, tx: MemoryTx) -> AsyncIterator[MemoryTx]:
        task = asyncio.current_task()
        if task is not None and self._owner is task:
            raise RuntimeError("a transaction inside a transaction of the same task")
        async with self._lock:
            self._owner = task
            try:
                yield tx
            finally:
                tx.open = False
                self._owner = None


def reading(tx: Tx) -> None:
    """Refuse a transaction that is foreign or over (for memory stores)."""
    if not isinstance(tx, MemoryTx):
        raise TypeError(f"{type(tx).__name__} is no in-memory transaction")
    if not tx.open:
        raise RuntimeError("the transaction is over")


def writing(tx: Tx) -> None:
    """Refuse a transaction that is foreign, over, or only reads (for memory stores)."""
    reading(tx)
    if isinstance(tx, MemoryTx) and not tx.writable:
        raise RuntimeError("a write in a transaction that only reads")
