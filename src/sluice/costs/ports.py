"""What costs need: a store of price files, and one of estimates."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sluice.base.ids import OrganizationId, TaskId
from sluice.base.transactions import Tx
from sluice.costs.model import CostEstimate, StoredPrices
from sluice.costs.price_file import FileFormat


class PriceStore(Protocol):
    """One price file for each organization that has one."""

    async def put(self, tx: Tx, prices: StoredPrices) -> None:
        """Keep an organization's price file, in place of the one it had."""
        ...

    async def get(self, tx: Tx, organization_id: OrganizationId) -> StoredPrices | None:
        """An organization's price file."""
        ...

    async def delete(self, tx: Tx, organization_id: OrganizationId) -> bool:
        """Forget an organization's price file; False where it had none."""
        ...

    async def content(self, tx: Tx, digest: str) -> tuple[str, FileFormat]:
        """The text that a task was made with."""
        ...


class EstimateStore(Protocol):
    """What was asked about tasks, and what was answered."""

    async def add(self, tx: Tx, estimate: CostEstimate) -> None:
        """Remember that a new task will be estimated; its price file is there."""
        ...

    async def get(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate."""
        ...

    async def hold(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate, kept from others until the transaction ends."""
        ...

    async def save(self, tx: Tx, estimate: CostEstimate) -> None:
        """Store a changed estimate."""
        ...

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> CostEstimate | None:
        """Take the estimate that is due longest, put off ``until`` then, if there is one."""
        ...

    async def pending(self, tx: Tx, task_ids: Sequence[TaskId]) -> set[TaskId]:
        """Which of these tasks wait for their estimate."""
        ...
