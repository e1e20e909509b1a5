"""Price files and estimates in dicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sluice.base.ids import OrganizationId, TaskId
from sluice.base.transactions import Tx
from sluice.costs.model import CostEstimate, EstimateStatus, StoredPrices
from sluice.costs.price_file import FileFormat
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryPriceStore:
    """The in-memory twin of `SqlPriceStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._files = transactions.table(dict[OrganizationId, StoredPrices]())
        self._contents = transactions.table(dict[str, tuple[str, FileFormat]]())

    async def put(self, tx: Tx, prices: StoredPrices) -> None:
        """Keep an organization's price file, in place of the one it had."""
        writing(tx)
        self._files[prices.organization_id] = prices
        self._contents[prices.digest] = (prices.content, prices.form)

    async def get(self, tx: Tx, organization_id: OrganizationId) -> StoredPrices | None:
        """An organization's price file."""
        reading(tx)
        return self._files.get(organization_id)

    async def delete(self, tx: Tx, organization_id: OrganizationId) -> bool:
        """Forget an organization's price file; False where it had none."""
        writing(tx)
        return self._files.pop(organization_id, None) is not None

    async def content(self, tx: Tx, digest: str) -> tuple[str, FileFormat]:
        """The text that a task was made with."""
        reading(tx)
        return self._contents[digest]


class MemoryEstimateStore:
    """The in-memory twin of `SqlEstimateStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._estimates = transactions.table(dict[TaskId, CostEstimate]())

    async def add(self, tx: Tx, estimate: CostEstimate) -> None:
        """Remember that a new task will be estimated."""
        writing(tx)
        self._estimates[estimate.task_id] = estimate

    async def get(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate."""
        reading(tx)
        return self._estimates.get(task_id)

    async def hold(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate, kept from others until the transaction ends."""
        writing(tx)
        return self._estimates.get(task_id)

    async def save(self, tx: Tx, estimate: CostEstimate) -> None:
        """Store a changed estimate."""
        writing(tx)
        self._estimates[estimate.task_id] = estimate

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> CostEstimate | None:
        """Take the estimate that is due longest, put off ``until`` then."""
        writing(tx)
        due = [
            (estimate.due_at, estimate.task_id)
            for estimate in self._estimates.values()
            if estimate.due_at is not None and estimate.due_at <= now
        ]
        if not due:
            return None
        found = self._estimates[min(due)[1]]
        taken = replace(found, due_at=until, attempts=found.attempts + 1)
        self._estimates[taken.task_id] = taken
        return taken

    async def pending(self, tx: Tx, task_ids: Sequence[TaskId]) -> set[TaskId]:
        """Which of these tasks wait for their estimate."""
        reading(tx)
        return {
            task_id
            for task_id in task_ids
            if task_id in self._estimates
            and self._estimates[task_id].status is EstimateStatus.PENDING
        }
