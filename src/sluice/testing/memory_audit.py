"""The in-memory twin of `SqlAuditLog`."""

from collections.abc import Iterator
from dataclasses import replace

from sluice.auth.audit import AuditEntry, AuditFilter
from sluice.auth.audit_calls import in_call
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.audit_chain import NOTHING, Link, entry_hash


class MemoryAuditLog:
    """`AuditLog` over a dict that keeps the order of its entries."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._entries: dict[int, AuditEntry] = transactions.table({})

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry; transactions run one by one, so its place is known at once."""
        writing(tx)
        head = self._head()
        placed = replace(
            in_call(tx, entry), number=head.number + 1, previous_hash=head.hash
        )
        self._entries[placed.number] = replace(placed, hash=entry_hash(placed))

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page, *, before: int | None = None
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are."""
        reading(tx)
        found = [one for one in self._entries.values() if _is_wanted(one, which)]
        shown = [one for one in found[::-1] if before is None or one.number < before]
        return shown[page.offset : page.offset + page.limit], len(found)

    async def after(
        self, tx: Tx, which: AuditFilter, *, number: int, limit: int
    ) -> list[AuditEntry]:
        """The first entries of larger numbers, in the order they were kept."""
        reading(tx)
        found = [
            one
            for one in self._entries.values()
            if one.number > number and _is_wanted(one, which)
        ]
        return found[:limit]

    async def head(self, tx: Tx) -> Link:
        """The last link of the chain."""
        reading(tx)
        return self._head()

    def _head(self) -> Link:
        if not self._entries:
            return NOTHING
        last = self._entries[max(self._entries)]
        return Link(last.number, last.hash)


def _is_wanted(entry: AuditEntry, which: AuditFilter) -> bool:
    return all(_agrees(entry, which))


def _agrees(entry: AuditEntry, which: AuditFilter) -> Iterator[bool]:
    yield which.organization_id in {None, entry.organization_id}
    yield entry.action.startswith(which.action)
    yield which.actor in {None, entry.actor, entry.actor_id}
    yield which.subject in {None, entry.subject}
    yield which.outcome in {None, entry.outcome}
    yield which.address in {None, entry.address}
    yield which.since is None or entry.at >= which.since
    yield which.until is None or entry.at < which.until
