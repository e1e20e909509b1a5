"""Routes that show what run tasks said of a task, and let a failed result pass."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import NotFoundError
from sluice.base.ids import RunTaskOutcomeId, RunTaskResultId, TaskId
from sluice.base.transactions import Tx
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Outcome, Result, StageOfTask
from sluice.runtasks.overrides import override_result, why_not
from sluice.tasks.model import Task
from sluice.wire.run_task import TagLevel
from sluice.wire.shapes import run_task_results as shapes

MARKDOWN = "text/markdown"
Reader = Annotated[Principal, Depends(require(Permission.READ))]
Keeper = Annotated[Principal, Depends(require(Permission.ADMIN_WORKSPACE))]
_BODY: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {MARKDOWN: {}}}},
}
_FIRST = ("status", "severity")


def build_results_router(deps: AskingDeps) -> APIRouter:
    """Results of a task, the Markdown of their outcomes, and overrides."""
    router = APIRouter(
        prefix="/api/v1/workspaces/{workspace_id}/tasks/{task_id}/run-task-results",
        tags=["run tasks"],
    )

    @router.get("")
    async def list_results(
        workspace_id: str, task_id: str, _: Reader
    ) -> shapes.RunTaskResults:
        """What run tasks said of the task so far, by stage and name, with outcomes."""
        async with deps.tasks.transactions.read() as tx:
            task = await _task_of(deps, tx, workspace_id, task_id)
            return await _all_results(deps, tx, task)

    @router.get("/outcomes/{outcome_id}/body", **_BODY)
    async def get_body(
        workspace_id: str, task_id: str, outcome_id: str, _: Reader
    ) -> Response:
        """The Markdown of an outcome, as the service wrote it: not to be trusted."""
        return await _body(deps, workspace_id, task_id, outcome_id)

    @router.post("/{result_id}/override")
    async def override(
        workspace_id: str,
        task_id: str,
        result_id: str,
        given: shapes.OverrideInput,
        caller: Keeper,
    ) -> shapes.RunTaskResults:
        """Let a failed mandatory result pass: a task that it blocked goes on."""
        async with deps.tasks.transactions.read() as tx:
            task = await _task_of(deps, tx, workspace_id, task_id)
        await override_result(
            deps,
            task_id=task.id,
            result_id=RunTaskResultId(result_id),
            actor=caller.actor,
            reason=given.reason,
        )
        async with deps.tasks.transactions.read() as tx:
            task = await _task_of(deps, tx, workspace_id, task_id)
            return await _all_results(deps, tx, task)

    return router


async def _body(
    deps: AskingDeps, workspace_id: str, task_id: str, outcome_id: str
) -> Response:
    async with deps.tasks.transactions.read() as tx:
        task = await _task_of(deps, tx, workspace_id, task_id)
        body = await deps.store.outcome_body(tx, task.id, RunTaskOutcomeId(outcome_id))
    if body is None:
        raise NotFoundError(f"{task.id} has no outcome {outcome_id[:80]}.")
    return Response(
        body, media_type=MARKDOWN, headers={"x-content-type-options": "nosniff"}
    )


async def _task_of(deps: AskingDeps, tx: Tx, workspace_id: str, task_id: str) -> Task:
    task = await deps.tasks.store.get(tx, TaskId(task_id))
    if task is None or task.workspace_id != workspace_id:
        raise NotFoundError(f"There is no task {task_id[:80]} in {workspace_id[:80]}.")
    return task


async def _all_results(deps: AskingDeps, tx: Tx, task: Task) -> shapes.RunTaskResults:
    stages = await deps.store.stages(tx, task.id)
    outcomes: dict[RunTaskResultId, list[Outcome]] = {}
    for outcome in await deps.store.outcomes(tx, task.id):
        outcomes.setdefault(outcome.result_id, []).append(outcome)
    known = {stage.id: stage for stage in stages}
    return shapes.RunTaskResults(
        stages=[
            shapes.RunTaskStageState(
                stage=stage.stage,
                opened_at=stage.opened_at,
                answered_at=stage.answered_at,
                passed=stage.passed,
            )
            for stage in stages
        ],
        results=[
            _result(task, known[result.stage_id], result, outcomes.get(result.id, ()))
            for result in await deps.store.results(tx, task.id)
        ],
    )


def _result(
    task: Task, stage: StageOfTask, result: Result, outcomes: Sequence[Outcome]
) -> shapes.RunTaskResult:
    override = result.override
    return shapes.RunTaskResult(
        result_id=result.id,
        task_id=result.task_id,
        run_task_id=result.run_task_id,
        name=result.name,
        stage=result.stage,
        enforcement_level=result.level,
        status=result.status,
        message=result.message,
        url=result.url,
        attempts=result.attempts,
        http_status=result.http_status,
        timeout_seconds=result.timeout_seconds,
        created_at=result.created_at,
        started_at=result.started_at,
        completed_at=result.completed_at,
        next_call_at=result.next_call_at,
        timeout_at=result.timeout_at,
        last_timeout_at=result.last_timeout_at,
        can_override=not why_not(task, stage, result),
        override=None
        if override is None
        else shapes.RunTaskOverride(
            by=override.by, reason=override.reason, at=override.at
        ),
        outcomes=[_outcome(outcome) for outcome in outcomes],
        request=None if result.request is None else dict(result.request),
        response=None if result.response is None else dict(result.response),
    )


def _outcome(outcome: Outcome) -> shapes.RunTaskOutcome:
    return shapes.RunTaskOutcome(
        id=outcome.id,
        outcome_id=outcome.outcome_id,
        description=outcome.description,
        url=outcome.url,
        tags=[
            shapes.OutcomeTag(name=name, labels=_labels(outcome.tags[name]))
            for name in sorted(outcome.tags, key=_place)
        ],
        body_bytes=outcome.body_bytes,
    )


def _place(name: str) -> tuple[int, str]:
    """Status first, then severity, then the others by name."""
    lower = name.lower()
    place = _FIRST.index(lower) if lower in _FIRST else len(_FIRST)
    return place, name


def _labels(labels: Sequence[Mapping[str, str]]) -> list[shapes.OutcomeLabel]:
    return [
        shapes.OutcomeLabel(label=label["label"], level=TagLevel(label["level"]))
        for label in labels
    ]
