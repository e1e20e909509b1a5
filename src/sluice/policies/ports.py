"""What policies need: a store of their own, one of their results, and an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sluice.base.ids import OrganizationId, PolicyId, TaskId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.policies.model import (
    Evaluation,
    Judgement,
    Policy,
    PolicyResult,
    SourceFault,
)


class PolicyStore(Protocol):
    """Policies by their owners."""

    async def add(self, tx: Tx, policy: Policy) -> None:
        """Keep a new policy.

        Raises:
            ConflictError: its owner has one of this name.
        """
        ...

    async def get(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy with this id."""
        ...

    async def hold(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy, kept from others' changes until the transaction ends."""
        ...

    async def of_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Policy]:
        """What holds in all of an organization, by name."""
        ...

    async def holding_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Policy]:
        """What holds in a workspace: the organization's policies, then its own, by name."""
        ...

    async def save(self, tx: Tx, policy: Policy) -> None:
        """Store a changed policy.

        Raises:
            ConflictError: another of its owner has this name.
        """
        ...

    async def delete(self, tx: Tx, policy_id: PolicyId) -> None:
        """Forget a policy; what it said of tasks stays."""
        ...


class EvaluationStore(Protocol):
    """What was asked about tasks, and what was answered."""

    async def add(
        self, tx: Tx, evaluation: Evaluation, results: Sequence[PolicyResult]
    ) -> None:
        """Remember what will be asked about a new task; texts are there by their digest."""
        ...

    async def get(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task."""
        ...

    async def hold(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task, kept from others until the transaction ends."""
        ...

    async def save(self, tx: Tx, evaluation: Evaluation) -> None:
        """Store a changed evaluation."""
        ...

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> Evaluation | None:
        """Take the evaluation that is due longest, put off ``until`` then, if there is one."""
        ...

    async def put_off(self, tx: Tx, evaluation: Evaluation, *, until: datetime) -> bool:
        """Go on with a claimed evaluation; False where it is no longer the caller's."""
        ...

    async def results(self, tx: Tx, task_id: TaskId) -> list[PolicyResult]:
        """What policies say of a task, by name."""
        ...

    async def save_results(self, tx: Tx, results: Sequence[PolicyResult]) -> None:
        """Store changed results."""
        ...

    async def sources(self, tx: Tx, task_id: TaskId) -> dict[str, str]:
        """The texts of a task's policies by their digest."""
        ...

    async def open_names(
        self, tx: Tx, task_ids: Sequence[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of the policies that tasks wait for."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A policy's text, what it finds in ``data.sluice``, and the plan as JSON."""

    source: str
    facts: Mapping[str, Any]
    plan: bytes


class Engine(Protocol):
    """Judges plans by policies (`policies.judge.Judge`)."""

    async def faults(self, source: str) -> list[SourceFault]:
        """What is wrong with a policy's text, by line.

        Raises:
            UnavailableError: the engine cannot be started.
        """
        ...

    async def judge(self, question: Question) -> Judgement:
        """What a policy says of a plan; never more than bounded time and memory."""
        ...
