"""What the verbs of policies work with, put together once by the composition root."""

from dataclasses import dataclass

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditLog
from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.policies.ports import Engine, EvaluationStore, PolicyStore
from sluice.tasks.deps import TaskDeps

LEASE_SECONDS = 20.0
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class PolicyDeps:
    """Stores, engine and neighbours of policies.

    ``lease_seconds`` is how long a server that evaluates may not be heard of before
    another does it again. ``at_once`` tasks are looked at together.
    """

    transactions: Transactions
    store: PolicyStore
    evaluations: EvaluationStore
    engine: Engine
    auth: AuthDeps
    tasks: TaskDeps
    audit: AuditLog
    clock: Clock
    lease_seconds: float = LEASE_SECONDS
    at_once: int = AT_ONCE
