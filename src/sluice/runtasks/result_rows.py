"""Rows of stages, results and outcomes to records and back, in one place."""

from typing import Any

from sqlalchemy import RowMapping

from sluice.runtasks.model import Outcome, Override, Result, StageOfTask
from sluice.wire.run_task import EnforcementLevel, ResultStatus, RunTaskStage


def stage_values(stage: StageOfTask) -> dict[str, Any]:
    """A stage as columns."""
    return {
        "id": stage.id,
        "task_id": stage.task_id,
        "stage": stage.stage.value,
        "opened_at": stage.opened_at,
        "answered_at": stage.answered_at,
        "passed": stage.passed,
    }


def stage_of(row: RowMapping) -> StageOfTask:
    """A stage from its row."""
    return StageOfTask(
        id=row["id"],
        task_id=row["task_id"],
        stage=RunTaskStage(row["stage"]),
        opened_at=row["opened_at"],
        answered_at=row["answered_at"],
        passed=row["passed"],
    )


def result_values(result: Result) -> dict[str, Any]:
    """A result as columns."""
    override = result.override
    return {
        "id": result.id,
        "stage_id": result.stage_id,
        "task_id": result.task_id,
        "organization_id": result.organization_id,
        "workspace_id": result.workspace_id,
        "run_task_id": result.run_task_id,
        "name": result.name,
        "stage": result.stage.value,
        "enforcement_level": result.level.value,
        "status": result.status.value,
        "message": result.message,
        "url": result.url,
        "token_hash": result.token_hash,
        "issued_at": result.issued_at,
        "attempts": result.attempts,
        "next_call_at": result.next_call_at,
        "call_lease_until": result.call_lease_until,
        "timeout_seconds": result.timeout_seconds,
        "timeout_at": result.timeout_at,
        "last_timeout_at": result.last_timeout_at,
        "http_status": result.http_status,
        "request": None if result.request is None else dict(result.request),
        "response": None if result.response is None else dict(result.response),
        "created_at": result.created_at,
        "started_at": result.started_at,
        "completed_at": result.completed_at,
        "overridden_by": override and override.by,
        "override_reason": override and override.reason,
        "overridden_at": override and override.at,
    }


def result_of(row: RowMapping) -> Result:
    """A result from its row."""
    return Result(
        id=row["id"],
        stage_id=row["stage_id"],
        task_id=row["task_id"],
        organization_id=row["organization_id"],
        workspace_id=row["workspace_id"],
        run_task_id=row["run_task_id"],
        name=row["name"],
        stage=RunTaskStage(row["stage"]),
        level=EnforcementLevel(row["enforcement_level"]),
        created_at=row["created_at"],
        status=ResultStatus(row["status"]),
        message=row["message"],
        url=row["url"],
        token_hash=row["token_hash"],
        issued_at=row["issued_at"],
        attempts=row["attempts"],
        next_call_at=row["next_call_at"],
        call_lease_until=row["call_lease_until"],
        timeout_seconds=row["timeout_seconds"],
        timeout_at=row["timeout_at"],
        last_timeout_at=row["last_timeout_at"],
        http_status=row["http_status"],
        request=row["request"],
        response=row["response"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        override=_override(row),
    )


def _override(row: RowMapping) -> Override | None:
    if row["overridden_at"] is None:
        return None
    return Override(row["overridden_by"], row["override_reason"], row["overridden_at"])


def outcome_of(row: RowMapping) -> Outcome:
    """An outcome from its row, whatever else stands in that."""
    return Outcome(
        id=row["id"],
        result_id=row["result_id"],
        position=row["position"],
        outcome_id=row["outcome_id"],
        description=row["description"],
        url=row["url"],
        tags=row["tags"],
        body_bytes=row["body_bytes"],
    )
