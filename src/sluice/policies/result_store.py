"""What policies say of tasks, in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, RowMapping, bindparam, insert, select, update

from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.db.claims import longest_due
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.policies.model import (
    Evaluation,
    Finding,
    FindingKind,
    PolicyResult,
    PolicyStatus,
)
from sluice.policies.tables import policy_evaluations, policy_results, policy_sources
from sluice.wire.run_task import EnforcementLevel

_EVALUATIONS = select(policy_evaluations)


class SqlEvaluationStore:
    """Evaluations on SQLite and PostgreSQL."""

    async def add(
        self, tx: Tx, evaluation: Evaluation, results: Sequence[PolicyResult]
    ) -> None:
        """Remember what will be asked about a new task."""
        connection = connection_of(tx)
        await connection.execute(
            insert(policy_evaluations).values(
                task_id=evaluation.task_id, **_state(evaluation)
            )
        )
        await connection.execute(
            insert(policy_results), [_values(result) for result in results]
        )

    async def get(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task."""
        query = _EVALUATIONS.where(policy_evaluations.c.task_id == task_id)
        return await _one(tx, query)

    async def hold(self, tx: Tx, task_id: TaskId) -> Evaluation | None:
        """What is asked about a task, kept from others until the transaction ends."""
        query = _EVALUATIONS.where(policy_evaluations.c.task_id == task_id)
        return await _one(tx, query.with_for_update())

    async def save(self, tx: Tx, evaluation: Evaluation) -> None:
        """Store a changed evaluation."""
        change = update(policy_evaluations).where(
            policy_evaluations.c.task_id == evaluation.task_id
        )
        await connection_of(tx).execute(change.values(_state(evaluation)))

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> Evaluation | None:
        """Take the evaluation that is due longest, put off ``until`` then."""
        due_at = policy_evaluations.c.due_at
        found = await _one(tx, longest_due(_EVALUATIONS, due_at, now))
        if found is None:
            return None
        taken = replace(found, due_at=until, attempts=found.attempts + 1)
        await self.save(tx, taken)
        return taken

    async def put_off(self, tx: Tx, evaluation: Evaluation, *, until: datetime) -> bool:
        """Go on with a claimed evaluation; False where it is no longer the caller's."""
        change = update(policy_evaluations).where(
            policy_evaluations.c.task_id == evaluation.task_id,
            policy_evaluations.c.attempts == evaluation.attempts,
            policy_evaluations.c.closed_at.is_(None),
        )
        done = await connection_of(tx).execute(change.values(due_at=until))
        assert isinstance(done, CursorResult)
        return done.rowcount == 1

    async def results(self, tx: Tx, task_id: TaskId) -> list[PolicyResult]:
        """What policies say of a task, by name."""
        rows = await connection_of(tx).execute(
            select(policy_results).where(policy_results.c.task_id == task_id)
        )
        found = [_result(row) for row in rows.mappings()]
        return sorted(found, key=lambda result: (result.name, result.policy_id))

    async def save_results(self, tx: Tx, results: Sequence[PolicyResult]) -> None:
        """Store changed results."""
        if not results:
            return
        same = (policy_results.c.task_id == bindparam("of_task")) & (
            policy_results.c.policy_id == bindparam("of_policy")
        )
        await connection_of(tx).execute(
            update(policy_results).where(same),
            [
                {
                    "of_task": result.task_id,
                    "of_policy": result.policy_id,
                    **_outcome(result),
                }
                for result in results
            ],
        )

    async def sources(self, tx: Tx, task_id: TaskId) -> dict[str, str]:
        """The texts of a task's policies by their digest."""
        rows = await connection_of(tx).execute(
            select(policy_sources)
            .join(policy_results, policy_results.c.digest == policy_sources.c.digest)
            .where(policy_results.c.task_id == task_id)
        )
        return {row.digest: row.source for row in rows}

    async def open_names(
        self, tx: Tx, task_ids: Sequence[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of the policies that tasks wait for."""
        rows = await connection_of(tx).execute(
            select(policy_results.c.task_id, policy_results.c.name).where(
                among(policy_results.c.task_id, task_ids),
                policy_results.c.status == PolicyStatus.PENDING.value,
            )
        )
        found: dict[TaskId, list[str]] = {}
        for task_id, name in sorted((TaskId(row[0]), row[1]) for row in rows):
            found.setdefault(task_id, []).append(name)
        return found


async def _one(tx: Tx, query: Any) -> Evaluation | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else Evaluation(**row)


def _state(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "opened_at": evaluation.opened_at,
        "due_at": evaluation.due_at,
        "attempts": evaluation.attempts,
        "closed_at": evaluation.closed_at,
    }


def _values(result: PolicyResult) -> dict[str, Any]:
    return {
        "task_id": result.task_id,
        "policy_id": result.policy_id,
        "name": result.name,
        "enforcement_level": result.level.value,
        "digest": result.digest,
        **_outcome(result),
    }


def _outcome(result: PolicyResult) -> dict[str, Any]:
    return {
        "status": result.status.value,
        "findings": [
            [item.kind.value, item.message, item.address, item.severity, item.url]
            for item in result.findings
        ],
        "left_out": result.left_out,
        "error": result.error,
        "completed_at": result.completed_at,
    }


def _result(row: RowMapping) -> PolicyResult:
    return PolicyResult(
        task_id=row["task_id"],
        policy_id=row["policy_id"],
        name=row["name"],
        level=EnforcementLevel(row["enforcement_level"]),
        digest=row["digest"],
        status=PolicyStatus(row["status"]),
        findings=tuple(
            Finding(FindingKind(kind), *texts) for kind, *texts in row["findings"]
        ),
        left_out=row["left_out"],
        error=row["error"],
        completed_at=row["completed_at"],
    )
