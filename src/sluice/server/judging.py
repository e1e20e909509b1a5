"""What policies and costs need, built from the parts."""

from dataclasses import dataclass, field

from sluice.auth.actions import AuthDeps
from sluice.auth.audit_store import SqlAuditLog
from sluice.costs.deps import CostDeps
from sluice.costs.keeper import CostKeeper
from sluice.costs.store import SqlEstimateStore, SqlPriceStore
from sluice.policies.deps import PolicyDeps
from sluice.policies.judge import MIB, Judge, Limits
from sluice.policies.keeper import PolicyKeeper
from sluice.policies.result_store import SqlEvaluationStore
from sluice.policies.store import SqlPolicyStore
from sluice.server.parts import Parts
from sluice.tasks.deps import TaskDeps
from sluice.tasks.ports import GateKeeper


@dataclass(frozen=True, slots=True)
class JudgingStores:
    """The SQL stores of both, and where their changes are recorded."""

    policies: SqlPolicyStore = field(default_factory=SqlPolicyStore)
    evaluations: SqlEvaluationStore = field(default_factory=SqlEvaluationStore)
    prices: SqlPriceStore = field(default_factory=SqlPriceStore)
    estimates: SqlEstimateStore = field(default_factory=SqlEstimateStore)
    audit: SqlAuditLog = field(default_factory=SqlAuditLog)


def judging_keepers(parts: Parts, stores: JudgingStores) -> tuple[GateKeeper, ...]:
    """Who keeps the gates `policy_check` and `cost_estimation`."""
    return (
        PolicyKeeper(stores.policies, stores.evaluations, parts.clock),
        CostKeeper(stores.prices, stores.estimates, parts.clock),
    )


def policy_deps(
    parts: Parts, stores: JudgingStores, auth: AuthDeps, tasks: TaskDeps
) -> PolicyDeps:
    """What policies need."""
    settings = parts.settings
    limits = Limits(
        seconds=settings.policy_seconds,
        memory_bytes=settings.policy_memory_mib * MIB,
        at_once=settings.policies_at_once,
    )
    return PolicyDeps(
        transactions=parts.database,
        store=stores.policies,
        evaluations=stores.evaluations,
        engine=Judge(limits),
        auth=auth,
        tasks=tasks,
        audit=stores.audit,
        clock=parts.clock,
        at_once=limits.at_once,
    )


def cost_deps(
    parts: Parts, stores: JudgingStores, auth: AuthDeps, tasks: TaskDeps
) -> CostDeps:
    """What costs need."""
    return CostDeps(
        transactions=parts.database,
        prices=stores.prices,
        estimates=stores.estimates,
        auth=auth,
        tasks=tasks,
        audit=stores.audit,
        clock=parts.clock,
    )
