"""The in-memory twin of `SqlAuditLog`."""

from sluice.auth.audit import AuditEntry, AuditFilter
from sluice.base.errors import ConflictError
from sluice.base.ids import AuditEntryId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryAuditLog:
    """`AuditLog` over a dict that keeps the order of its entries."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._entries: dict[AuditEntryId, AuditEntry] = transactions.table({})

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry."""
        writing(tx)
        if entry.id in self._entries:
            raise ConflictError(f"There is an entry {entry.id} already.")
        self._entries[entry.id] = entry

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are."""
        reading(tx)
        found = [one for one in self._entries.values() if _is_wanted(one, which)]
        found.reverse()
        return found[page.offset : page.offset + page.limit], len(found)


def _is_wanted(entry: AuditEntry, which: AuditFilter) -> bool:
    return (
        which.organization_id in {None, entry.organization_id}
        and entry.action.startswith(which.action)
        and which.actor in {None, entry.actor}
        and which.subject in {None, entry.subject}
    )
