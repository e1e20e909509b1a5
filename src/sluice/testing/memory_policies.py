"""Policies and what they said of tasks, in dicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, PolicyId, TaskId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.policies.model import Evaluation, Policy, PolicyResult, PolicyStatus
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryPolicyStore:
    """The in-memory twin of `SqlPolicyStore`; ``sources`` holds all texts there were."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._policies = transactions.table(dict[PolicyId, Policy]())
        self.sources = transactions.table(dict[str, str]())

    async def add(self, tx: Tx, policy: Policy) -> None:
        """Keep a new policy."""
        writing(tx)
        self._put(policy)

    async def get(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy with this id."""
        reading(tx)
        return self._policies.get(policy_id)

    async def hold(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy, kept from others' changes until the transaction ends."""
        writing(tx)
        return self._policies.get(policy_id)

    async def of_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Policy]:
        """What holds in all of an organization, by name."""
        reading(tx)
        found = [
            policy
            for policy in self._policies.values()
            if policy.organization_id == organization_id and policy.workspace_id is None
        ]
        return sorted(found, key=lambda policy: policy.name)

    async def holding_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Policy]:
        """What holds in a workspace: the organization's policies, then its own, by name."""
        own = [
            policy
            for policy in self._policies.values()
            if policy.workspace_id == workspace_id
        ]
        return [
            *await self.of_organization(tx, organization_id),
            *sorted(own, key=lambda policy: policy.name),
        ]

    async def save(self, tx: Tx, policy: Policy) -> None:
        """Store a changed policy."""
        writing(tx)
        if policy.id in self._policies:
            self._put(policy)

    async def delete(self, tx: Tx, policy_id: PolicyId) -> None:
        """Forget a policy; what it said of tasks stays."""
        writing(tx)
        self._policies.pop(policy_id, None)

    def _put(self, policy: Policy) -> None:
        for other in self._policies.values():
            same = (other.owner, other.name) == (policy.owner, policy.name)
            if same and other.id != policy.id:
                raise ConflictError(
                    f"{policy.owner} has a policy {policy.name} already; take another"
                    " name, or change that one."
                )
        self._policies[policy.id] = policy
        self.sources[policy.digest] = policy.source


class MemoryEvaluationStore:
    """The in-memory twin of `SqlEvaluationStore`; texts are those of ``policies``."""

    def __init__(
        self, transactions: MemoryTransactions, policies: MemoryPolicyStore
    ) -> None:
        self._evaluations = transactions.table(dict[TaskId, Evaluation]())
        self._results = transactions.table(
            dict[tuple[TaskId, PolicyId], PolicyResult]()
        )
        self._policies = policies

    async def add(
        self, tx: Tx, evaluation: Evaluation, results: Sequence[PolicyResult]
    ) -> None:
        """Remember what will be asked about a new task."""
        writing(tx)
        self._evaluations[evaluation.task_id] = evaluation
        for result in results:
            self._results[result.task_id, result.policy_id] = result

    async def get(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task."""
        reading(tx)
        return self._evaluations.get(task_id)

    async def hold(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task, kept from others until the transaction ends."""
        writing(tx)
        return self._evaluations.get(task_id)

    async def save(self, tx: Tx, evaluation: Evaluation) -> None:
        """Store a changed evaluation."""
        writing(tx)
        self._evaluations[evaluation.task_id] = evaluation

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> Evaluation | None:
        """Take the evaluation that is due longest, put off ``until`` then."""
        writing(tx)
        due = [
            (evaluation.due_at, evaluation.task_id)
            for evaluation in self._evaluations.values()
            if evaluation.due_at is not None and evaluation.due_at <= now
        ]
        if not due:
            return None
        found = self._evaluations[min(due)[1]]
        taken = replace(found, due_at=until, attempts=found.attempts + 1)
        self._evaluations[taken.task_id] = taken
        return taken

    async def put_off(self, tx: Tx, evaluation: Evaluation, *, until: datetime) -> bool:
        """Go on with a claimed evaluation; False where it is no longer the caller's."""
        writing(tx)
        found = self._evaluations.get(evaluation.task_id)
        if found is None or found.closed_at is not None:
            return False
        if found.attempts != evaluation.attempts:
            return False
        self._evaluations[found.task_id] = replace(found, due_at=until)
        return True

    async def results(self, tx: Tx, task_id: TaskId) -> list[PolicyResult]:
        """What policies say of a task, by name."""
        reading(tx)
        found = [one for one in self._results.values() if one.task_id == task_id]
        return sorted(found, key=lambda result: (result.name, result.policy_id))

    async def save_results(self, tx: Tx, results: Sequence[PolicyResult]) -> None:
        """Store changed results."""
        writing(tx)
        for result in results:
            self._results[result.task_id, result.policy_id] = result

    async def sources(self, tx: Tx, task_id: TaskId) -> dict[str, str]:
        """The texts of a task's policies by their digest."""
        found = await self.results(tx, task_id)
        return {one.digest: self._policies.sources[one.digest] for one in found}

    async def open_names(
        self, tx: Tx, task_ids: Sequence[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of the policies that tasks wait for."""
        reading(tx)
        found: dict[TaskId, list[str]] = {}
        for result in self._results.values():
            if result.task_id in task_ids and result.status is PolicyStatus.PENDING:
                found.setdefault(result.task_id, []).append(result.name)
        return {task_id: sorted(names) for task_id, names in found.items()}
