"""What the verbs of costs work with, put together once by the composition root."""

from dataclasses import dataclass

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditLog
from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.costs.ports import EstimateStore, PriceStore
from sluice.tasks.deps import TaskDeps

LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class CostDeps:
    """Stores and neighbours of costs.

    ``lease_seconds`` is how long an estimate may take before another server makes it again.
    """

    transactions: Transactions
    prices: PriceStore
    estimates: EstimateStore
    auth: AuthDeps
    tasks: TaskDeps
    audit: AuditLog
    clock: Clock
    lease_seconds: float = LEASE_SECONDS
