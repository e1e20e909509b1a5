"""Policies with all that they stand on, on memory, SQLite and PostgreSQL."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sluice.auth.audit import AuditLog
from sluice.auth.audit_store import SqlAuditLog
from sluice.base.ids import TaskId, WorkspaceId, new_policy_id
from sluice.policies.deps import PolicyDeps
from sluice.policies.evaluating import evaluate_next
from sluice.policies.judge import Judge, Limits
from sluice.policies.keeper import PolicyKeeper
from sluice.policies.model import Evaluation, Policy, PolicyResult
from sluice.policies.ports import EvaluationStore, PolicyStore
from sluice.policies.result_store import SqlEvaluationStore
from sluice.policies.store import SqlPolicyStore
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_policies import MemoryEvaluationStore, MemoryPolicyStore
from sluice.wire.run_task import EnforcementLevel
from tests.conftest import Backing
from tests.tasks.world import ORG, World, make_world

DENY = 'package terraform\nimport rego.v1\ndeny contains "no" if input.format_version'
WARN = 'package terraform\nimport rego.v1\nwarn contains "look"'


def make_policy(name: str = "rule", source: str = DENY, **fields: Any) -> Policy:
    at = fields.pop("at")
    policy = Policy(
        id=new_policy_id(),
        organization_id=ORG,
        workspace_id=None,
        name=name,
        source=source,
        level=EnforcementLevel.MANDATORY,
        created_by="ann",
        created_at=at,
        updated_at=at,
    )
    return replace(policy, **fields)


@dataclass
class Policies:
    """The verbs' dependencies, with what tests need to look behind them."""

    world: World
    deps: PolicyDeps

    @property
    def store(self) -> PolicyStore:
        return self.deps.store

    @property
    def evaluations(self) -> EvaluationStore:
        return self.deps.evaluations

    async def add(self, name: str, source: str = DENY, **fields: Any) -> Policy:
        policy = make_policy(name, source, at=self.world.clock.now(), **fields)
        async with self.world.transactions.write() as tx:
            await self.store.add(tx, policy)
        return policy

    async def listed(self, workspace_id: WorkspaceId) -> list[str]:
        async with self.world.transactions.read() as tx:
            found = await self.store.holding_in(tx, ORG, workspace_id)
        return [policy.name for policy in found]

    async def results(self, task_id: TaskId) -> list[PolicyResult]:
        async with self.world.transactions.read() as tx:
            return await self.evaluations.results(tx, task_id)

    async def evaluation(self, task_id: TaskId) -> Evaluation | None:
        async with self.world.transactions.read() as tx:
            return await self.evaluations.get(tx, task_id)

    async def evaluate(self) -> bool:
        async with asyncio.TaskGroup() as group:
            return await evaluate_next(self.deps, group)


@pytest.fixture
async def policies(transactions: Backing, tmp_path: Path) -> Policies:
    """Everything, with the organization `org-1`; the engine is the real one."""
    world = await make_world(transactions, tmp_path)
    audit: AuditLog = SqlAuditLog()
    if transactions.kind == "memory":
        audit = MemoryAuditLog(transactions.memory)
    store: PolicyStore = SqlPolicyStore()
    evaluations: EvaluationStore = SqlEvaluationStore()
    if transactions.kind == "memory":
        kept = MemoryPolicyStore(transactions.memory)
        store, evaluations = kept, MemoryEvaluationStore(transactions.memory, kept)
    keeper = PolicyKeeper(store, evaluations, world.clock)
    world.tasks = replace(world.tasks, keepers=(keeper,))
    deps = PolicyDeps(
        transactions=world.transactions,
        store=store,
        evaluations=evaluations,
        engine=Judge(Limits()),
        auth=world.agents.auth,
        tasks=world.tasks,
        audit=audit,
        clock=world.clock,
    )
    return Policies(world, deps)
