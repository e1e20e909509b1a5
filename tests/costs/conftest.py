"""Costs with all that they stand on, on memory, SQLite and PostgreSQL."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sluice.auth.audit import AuditLog
from sluice.auth.audit_store import SqlAuditLog
from sluice.base.ids import TaskId
from sluice.costs.answering import estimate_next
from sluice.costs.deps import CostDeps
from sluice.costs.keeper import CostKeeper
from sluice.costs.model import CostEstimate, StoredPrices
from sluice.costs.ports import EstimateStore, PriceStore
from sluice.costs.price_file import FileFormat
from sluice.costs.store import SqlEstimateStore, SqlPriceStore
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_costs import MemoryEstimateStore, MemoryPriceStore
from tests.conftest import Backing
from tests.tasks.world import ORG, World, make_world


@dataclass
class Costs:
    """The verbs' dependencies, with what tests need to look behind them."""

    world: World
    deps: CostDeps

    async def put(self, content: str, form: FileFormat = FileFormat.TOML) -> None:
        stored = StoredPrices(ORG, content, form, "ann", self.world.clock.now())
        async with self.world.transactions.write() as tx:
            await self.deps.prices.put(tx, stored)

    async def stored(self, task_id: TaskId) -> CostEstimate | None:
        async with self.world.transactions.read() as tx:
            return await self.deps.estimates.get(tx, task_id)

    async def estimate(self) -> bool:
        return await estimate_next(self.deps)


@pytest.fixture
async def costs(transactions: Backing, tmp_path: Path) -> Costs:
    """Everything, with the organization `org-1`, which has no price file."""
    world = await make_world(transactions, tmp_path)
    audit: AuditLog = SqlAuditLog()
    if transactions.kind == "memory":
        audit = MemoryAuditLog(transactions.memory)
    prices: PriceStore = SqlPriceStore()
    estimates: EstimateStore = SqlEstimateStore()
    if transactions.kind == "memory":
        prices = MemoryPriceStore(transactions.memory)
        estimates = MemoryEstimateStore(transactions.memory)
    keeper = CostKeeper(prices, estimates, world.clock)
    world.tasks = replace(world.tasks, keepers=(keeper,))
    deps = CostDeps(
        transactions=world.transactions,
        prices=prices,
        estimates=estimates,
        auth=world.agents.auth,
        tasks=world.tasks,
        audit=audit,
        clock=world.clock,
    )
    return Costs(world, deps)
