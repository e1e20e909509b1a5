"""Answers at the gate `policy_check`: remembers for each new task which policies it has to pass."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sluice.base.clock import Clock
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.policies.model import Evaluation, Policy, PolicyResult, PolicyStatus
from sluice.policies.ports import EvaluationStore, PolicyStore
from sluice.tasks.model import Gate, Task, TaskState

_CALLED_OFF = frozenset({TaskState.CANCELED, TaskState.DISCARDED})


class PolicyKeeper:
    """Fulfils `tasks.ports.GateKeeper`; `evaluating.py` gives the answers."""

    def __init__(
        self, policies: PolicyStore, evaluations: EvaluationStore, clock: Clock
    ) -> None:
        self._policies = policies
        self._evaluations = evaluations
        self._clock = clock

    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        """Remember the policies that hold in the task's workspace, with their texts of now."""
        if task.workspace_id is None or Gate.POLICY_CHECK not in possible:
            return frozenset()
        found = await self._policies.holding_in(
            tx, task.organization_id, task.workspace_id
        )
        wanted = [policy for policy in found if policy.enabled]
        if not wanted:
            return frozenset()
        results = [_pending(task.id, policy) for policy in wanted]
        await self._evaluations.add(tx, Evaluation(task.id), results)
        return frozenset({Gate.POLICY_CHECK})

    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        """The task stands at the gate: its evaluation is due."""
        if gate is not Gate.POLICY_CHECK:
            return
        found = await self._evaluations.hold(tx, task.id)
        if found is not None and found.closed_at is None:
            now = self._clock.now()
            await self._evaluations.save(tx, replace(found, opened_at=now, due_at=now))

    async def ended(self, tx: Tx, task: Task) -> None:
        """The task has ended: nobody waits for what is still open."""
        found = await self._evaluations.hold(tx, task.id)
        if found is None or found.closed_at is not None:
            return
        now = self._clock.now()
        await self._evaluations.save(tx, replace(found, due_at=None, closed_at=now))
        left = found.opened_at is not None or task.state in _CALLED_OFF
        status = PolicyStatus.CANCELED if left else PolicyStatus.SKIPPED
        results = await self._evaluations.results(tx, task.id)
        await self._evaluations.save_results(
            tx,
            [
                replace(result, status=status, completed_at=now)
                for result in results
                if result.status is PolicyStatus.PENDING
            ],
        )

    async def describe(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[TaskId, str]:
        """What tasks at this gate wait for."""
        standing = [task.id for task in tasks if task.gate is Gate.POLICY_CHECK]
        if not standing:
            return {}
        found = await self._evaluations.open_names(tx, standing)
        return {
            task_id: f"waits for policies: {', '.join(names)}"
            for task_id, names in found.items()
        }


def _pending(task_id: TaskId, policy: Policy) -> PolicyResult:
    return PolicyResult(
        task_id=task_id,
        policy_id=policy.id,
        name=policy.name,
        level=policy.level,
        digest=policy.digest,
    )
