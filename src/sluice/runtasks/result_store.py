"""What run tasks said of tasks, in the database."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from sluice.base.ids import (
    RunTaskOutcomeId,
    RunTaskResultId,
    TaskId,
    new_run_task_outcome_id,
)
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.runtasks.model import Finding, Outcome, Result, StageOfTask
from sluice.runtasks.result_rows import (
    outcome_of,
    result_of,
    result_values,
    stage_of,
    stage_values,
)
from sluice.runtasks.tables import (
    run_task_outcomes,
    run_task_results,
    run_task_stages,
)
from sluice.tasks.tables import tasks
from sluice.wire.run_task import ResultStatus, RunTaskStage

_results = run_task_results.c
_stages = run_task_stages.c
_outcomes = run_task_outcomes.c
_OPEN = _results.completed_at.is_(None)
_ORDER = list(RunTaskStage)
_JSON = ("request", "response")


class SqlResultStore:
    """Stages, results and outcomes, in SQLite or PostgreSQL."""

    async def add_stage(
        self, tx: Tx, stage: StageOfTask, results: Sequence[Result]
    ) -> None:
        """Remember a stage of a task with what is asked there."""
        connection = connection_of(tx)
        await connection.execute(insert(run_task_stages).values(stage_values(stage)))
        if results:
            rows = [_columns(result) for result in results]
            await connection.execute(insert(run_task_results), rows)

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageOfTask]:
        """All stages of a task at which something is asked, or was."""
        rows = await connection_of(tx).execute(
            select(run_task_stages).where(_stages.task_id == task_id)
        )
        found = [stage_of(row) for row in rows.mappings()]
        return sorted(found, key=lambda stage: _ORDER.index(stage.stage))

    async def save_stage(self, tx: Tx, stage: StageOfTask) -> None:
        """Store a changed stage."""
        await connection_of(tx).execute(
            update(run_task_stages)
            .where(_stages.id == stage.id)
            .values(stage_values(stage))
        )

    async def get(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result."""
        return await _one(tx, _by_id(result_id))

    async def hold(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result, its row locked (SQLite has but one writer anyway)."""
        return await _one(tx, _by_id(result_id).with_for_update())

    async def results(self, tx: Tx, task_id: TaskId) -> list[Result]:
        """All results of a task, by stage and name."""
        query = select(run_task_results).where(_results.task_id == task_id)
        return sorted(
            await _all(tx, query),
            key=lambda result: (_ORDER.index(result.stage), result.name, result.id),
        )

    async def of_plan(self, tx: Tx, plan_task_id: TaskId) -> list[Result]:
        """Results of a plan's task and of tasks that were to apply it, oldest first."""
        # the workspace narrows it down by an index
        home = select(tasks.c.workspace_id).where(tasks.c.id == plan_task_id)
        return await _all(
            tx,
            select(run_task_results)
            .join(tasks, tasks.c.id == _results.task_id)
            .where(
                tasks.c.workspace_id == home.scalar_subquery(),
                or_(tasks.c.id == plan_task_id, tasks.c.plan_task_id == plan_task_id),
            )
            .order_by(tasks.c.sequence, _results.id),
        )

    async def save(self, tx: Tx, result: Result) -> None:
        """Store a changed result."""
        await connection_of(tx).execute(
            update(run_task_results)
            .where(_results.id == result.id)
            .values(_columns(result))
        )

    async def is_due(self, tx: Tx, now: datetime) -> bool:
        """Whether `take_due` would find something, others aside."""
        query = select(_results.id).where(_due(now)).limit(1)
        return await connection_of(tx).scalar(query) is not None

    async def take_due(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Results whose service is to be called now, kept from others; longest due first."""
        return await _all(
            tx,
            select(run_task_results)
            .where(_due(now))
            .order_by(_results.next_call_at, _results.id)
            .limit(limit)
            .with_for_update(skip_locked=True),
        )

    async def overdue(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Running results whose time is over, longest over first."""
        return await _all(
            tx,
            select(run_task_results)
            .where(_OPEN, _results.timeout_at <= now)
            .order_by(_results.timeout_at)
            .limit(limit),
        )

    async def unanswered(self, tx: Tx, limit: int) -> list[StageOfTask]:
        """Stages at which tasks wait though every result is final."""
        still_open = exists().where(_results.stage_id == _stages.id, _OPEN)
        rows = await connection_of(tx).execute(
            select(run_task_stages)
            .where(
                _stages.answered_at.is_(None),
                _stages.opened_at.is_not(None),
                ~still_open,
            )
            .order_by(_stages.opened_at)
            .limit(limit)
        )
        return [stage_of(row) for row in rows.mappings()]

    async def open_names(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of what each task's opened stages still wait for."""
        rows = await connection_of(tx).execute(
            select(_results.task_id, _results.name)
            .join(run_task_stages, _stages.id == _results.stage_id)
            .where(
                among(_results.task_id, task_ids), _OPEN, _stages.opened_at.is_not(None)
            )
        )
        found: dict[TaskId, list[str]] = {}
        for task_id, name in rows:
            found.setdefault(TaskId(task_id), []).append(name)
        return {task_id: sorted(names) for task_id, names in found.items()}

    async def count_open(self, tx: Tx) -> dict[ResultStatus, int]:
        """How many results are not final, by status."""
        rows = await connection_of(tx).execute(
            select(_results.status, func.count()).where(_OPEN).group_by(_results.status)
        )
        return {ResultStatus(status): number for status, number in rows}

    async def put_outcomes(
        self, tx: Tx, result_id: RunTaskResultId, findings: Sequence[Finding]
    ) -> None:
        """Store a result's outcomes in place of those it had."""
        connection = connection_of(tx)
        await connection.execute(
            delete(run_task_outcomes).where(_outcomes.result_id == result_id)
        )
        if not findings:
            return
        await connection.execute(
            insert(run_task_outcomes),
            [
                {
                    "id": new_run_task_outcome_id(),
                    "result_id": result_id,
                    "position": position,
                    "outcome_id": finding.outcome_id,
                    "description": finding.description,
                    "url": finding.url,
                    "tags": finding.tags,
                    "body": finding.body,
                    "body_bytes": len(finding.body.encode()),
                }
                for position, finding in enumerate(findings)
            ],
        )

    async def outcomes(self, tx: Tx, task_id: TaskId) -> list[Outcome]:
        """The outcomes of all results of a task, in their order, without their bodies."""
        columns = [column for column in _outcomes if column is not _outcomes.body]
        rows = await connection_of(tx).execute(
            select(*columns)
            .join(run_task_results, _results.id == _outcomes.result_id)
            .where(_results.task_id == task_id)
            .order_by(_outcomes.result_id, _outcomes.position)
        )
        return [outcome_of(row) for row in rows.mappings()]

    async def outcome_body(
        self, tx: Tx, task_id: TaskId, outcome_id: RunTaskOutcomeId
    ) -> str | None:
        """The Markdown of an outcome of this task."""
        body: str | None = await connection_of(tx).scalar(
            select(_outcomes.body)
            .join(run_task_results, _results.id == _outcomes.result_id)
            .where(_outcomes.id == outcome_id, _results.task_id == task_id)
        )
        return body


def _columns(result: Result) -> dict[str, Any]:
    """A result as columns; without a document it is NULL, and not JSON's null."""
    values = result_values(result)
    return {
        name: null() if value is None and name in _JSON else value
        for name, value in values.items()
    }


def _due(now: datetime) -> ColumnElement[bool]:
    lease = _results.call_lease_until
    return and_(_results.next_call_at <= now, or_(lease.is_(None), lease <= now))


def _by_id(result_id: RunTaskResultId) -> Select[Any]:
    return select(run_task_results).where(_results.id == result_id)


async def _one(tx: Tx, query: Select[Any]) -> Result | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else result_of(row)


async def _all(tx: Tx, query: Select[Any]) -> list[Result]:
    rows = await connection_of(tx).execute(query)
    return [result_of(row) for row in rows.mappings()]
