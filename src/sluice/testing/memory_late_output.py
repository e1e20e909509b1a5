"""Late output in dicts."""

from sluice.base.ids import LeaseId, TaskId
from sluice.base.transactions import Tx
from sluice.tasks.model import LateOutput
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryLateOutputStore:
    """The in-memory twin of `SqlLateOutputStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[LeaseId, LateOutput]())
        self._parts = transactions.table(dict[tuple[LeaseId, int], bytes]())

    async def get(self, tx: Tx, lease_id: LeaseId) -> LateOutput | None:
        """What is kept of a lease."""
        reading(tx)
        return self._rows.get(lease_id)

    async def keep(self, tx: Tx, newer: LateOutput, start: int, data: bytes) -> None:
        """Keep the bytes from offset ``start`` on."""
        writing(tx)
        self._rows[newer.lease_id] = newer
        self._parts[newer.lease_id, start] = data

    async def of_task(self, tx: Tx, task_id: TaskId) -> list[LateOutput]:
        """What is kept of a task's leases, in the order in which it came."""
        reading(tx)
        rows = [row for row in self._rows.values() if row.task_id == task_id]
        return sorted(rows, key=lambda row: (row.received_at, row.lease_id))

    async def content(self, tx: Tx, lease_id: LeaseId) -> bytes:
        """All bytes that are kept of a lease."""
        reading(tx)
        keys = sorted(key for key in self._parts if key[0] == lease_id)
        return b"".join(self._parts[key] for key in keys)

    async def remove(self, tx: Tx, task_id: TaskId) -> None:
        """Forget what is kept of a task's leases."""
        writing(tx)
        gone = [row.lease_id for row in self._rows.values() if row.task_id == task_id]
        for lease_id in gone:
            del self._rows[lease_id]
        for key in [key for key in self._parts if key[0] in gone]:
            del self._parts[key]
