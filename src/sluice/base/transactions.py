"""What a transaction is to the rules above the store: opaque, short, all or nothing."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Tx:
    """One open transaction; only stores look inside."""


class Transactions(Protocol):
    """Opens transactions on the database (or on its in-memory twin)."""

    def read(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction that only reads."""
        ...

    def write(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction that may write: committed at the end, rolled back on an error."""
        ...


class CommitWatch(Protocol):
    """Told of the write transactions of those `Transactions` that it was given to."""

    async def before_commit(self, tx: Tx) -> None:
        """The transaction's work is done; more may be written in it."""
        ...

    def committed(self, tx: Tx) -> None:
        """The transaction is kept."""
        ...
