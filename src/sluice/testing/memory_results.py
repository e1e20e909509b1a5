"""The in-memory twin of `SqlResultStore`."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sluice.base.errors import ConflictError
from sluice.base.ids import (
    RunTaskOutcomeId,
    RunTaskResultId,
    RunTaskStageId,
    TaskId,
    new_run_task_outcome_id,
)
from sluice.base.transactions import Tx
from sluice.runtasks.model import Finding, Outcome, Result, StageOfTask
from sluice.tasks.ports import TaskStore
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.run_task import ResultStatus, RunTaskStage

_ORDER = list(RunTaskStage)
_Findings = tuple[tuple[Outcome, str], ...]


class MemoryResultStore:
    """Stages, results and outcomes in dicts; it looks at tasks in their twin."""

    def __init__(self, transactions: MemoryTransactions, tasks: TaskStore) -> None:
        self._tasks = tasks
        self._stages = transactions.table(dict[RunTaskStageId, StageOfTask]())
        self._results = transactions.table(dict[RunTaskResultId, Result]())
        self._outcomes = transactions.table(dict[RunTaskResultId, _Findings]())

    async def add_stage(
        self, tx: Tx, stage: StageOfTask, results: Sequence[Result]
    ) -> None:
        """Remember a stage of a task with what is asked there."""
        writing(tx)
        key = (stage.task_id, stage.stage)
        if any((row.task_id, row.stage) == key for row in self._stages.values()):
            raise ConflictError(f"{stage.task_id} has a stage {stage.stage} already.")
        self._stages[stage.id] = stage
        for result in results:
            self._results[result.id] = result

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageOfTask]:
        """All stages of a task at which something is asked, or was."""
        reading(tx)
        found = [row for row in self._stages.values() if row.task_id == task_id]
        return sorted(found, key=lambda row: _ORDER.index(row.stage))

    async def save_stage(self, tx: Tx, stage: StageOfTask) -> None:
        """Store a changed stage."""
        writing(tx)
        self._stages[stage.id] = stage

    async def get(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result."""
        reading(tx)
        return self._results.get(result_id)

    async def hold(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result; transactions run one at a time, so it is held."""
        writing(tx)
        return self._results.get(result_id)

    async def results(self, tx: Tx, task_id: TaskId) -> list[Result]:
        """All results of a task, by stage and name."""
        reading(tx)
        found = [row for row in self._results.values() if row.task_id == task_id]
        return sorted(
            found, key=lambda row: (_ORDER.index(row.stage), row.name, row.id)
        )

    async def of_plan(self, tx: Tx, plan_task_id: TaskId) -> list[Result]:
        """Results of a plan's task and of tasks that were to apply it, oldest first."""
        found: list[tuple[int, Result]] = []
        for row in self._results.values():
            task = await self._tasks.get(tx, row.task_id)
            if task is not None and plan_task_id in {task.id, task.plan_task_id}:
                found.append((task.sequence, row))
        return [row for _, row in sorted(found, key=lambda key: (key[0], key[1].id))]

    async def save(self, tx: Tx, result: Result) -> None:
        """Store a changed result."""
        writing(tx)
        if result.id in self._results:
            self._results[result.id] = result

    async def is_due(self, tx: Tx, now: datetime) -> bool:
        """Whether `take_due` would find something."""
        reading(tx)
        return bool(self._due(now))

    async def take_due(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Results whose service is to be called now; longest due first."""
        writing(tx)
        return self._due(now)[:limit]

    def _due(self, now: datetime) -> list[Result]:
        due = [
            (row.next_call_at, row.id, row)
            for row in self._results.values()
            if row.next_call_at is not None
            and row.next_call_at <= now
            and (row.call_lease_until is None or row.call_lease_until <= now)
        ]
        return [row for _, _, row in sorted(due, key=lambda key: key[:2])]

    async def overdue(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Running results whose time is over, longest over first."""
        reading(tx)
        over = [
            (row.timeout_at, row)
            for row in self._results.values()
            if not row.final and row.timeout_at is not None and row.timeout_at <= now
        ]
        return [row for _, row in sorted(over, key=lambda key: key[0])][:limit]

    async def unanswered(self, tx: Tx, limit: int) -> list[StageOfTask]:
        """Stages at which tasks wait though every result is final."""
        reading(tx)
        waited_for = {row.stage_id for row in self._results.values() if not row.final}
        found = [
            (row.opened_at, row)
            for row in self._stages.values()
            if row.opened_at is not None
            and row.answered_at is None
            and row.id not in waited_for
        ]
        return [row for _, row in sorted(found, key=lambda key: key[0])][:limit]

    async def open_names(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of what each task's opened stages still wait for."""
        reading(tx)
        found: dict[TaskId, list[str]] = {}
        for row in self._results.values():
            opened = self._stages[row.stage_id].opened_at is not None
            if opened and not row.final and row.task_id in task_ids:
                found.setdefault(row.task_id, []).append(row.name)
        return {task_id: sorted(names) for task_id, names in found.items()}

    async def count_open(self, tx: Tx) -> dict[ResultStatus, int]:
        """How many results are not final, by status."""
        reading(tx)
        found: dict[ResultStatus, int] = {}
        for row in self._results.values():
            if not row.final:
                found[row.status] = found.get(row.status, 0) + 1
        return found

    async def put_outcomes(
        self, tx: Tx, result_id: RunTaskResultId, findings: Sequence[Finding]
    ) -> None:
        """Store a result's outcomes in place of those it had."""
        writing(tx)
        self._outcomes[result_id] = tuple(
            (
                Outcome(
                    id=new_run_task_outcome_id(),
                    result_id=result_id,
                    position=position,
                    outcome_id=finding.outcome_id,
                    description=finding.description,
                    url=finding.url,
                    tags=finding.tags,
                    body_bytes=len(finding.body.encode()),
                ),
                finding.body,
            )
            for position, finding in enumerate(findings)
        )

    async def outcomes(self, tx: Tx, task_id: TaskId) -> list[Outcome]:
        """The outcomes of all results of a task, in their order, without their bodies."""
        return [outcome for outcome, _ in await self._of_task(tx, task_id)]

    async def outcome_body(
        self, tx: Tx, task_id: TaskId, outcome_id: RunTaskOutcomeId
    ) -> str | None:
        """The Markdown of an outcome of this task."""
        for outcome, body in await self._of_task(tx, task_id):
            if outcome.id == outcome_id:
                return body
        return None

    async def _of_task(self, tx: Tx, task_id: TaskId) -> _Findings:
        reading(tx)
        ids = sorted(row.id for row in self._results.values() if row.task_id == task_id)
        return tuple(
            pair for result_id in ids for pair in self._outcomes.get(result_id, ())
        )
