"""Rows of tasks and leases to records and back, in one place."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from sluice.tasks.model import (
    CancelKind,
    Gate,
    Lease,
    LeaseOutcome,
    LeaseRecord,
    LogFigures,
    ScriptFacts,
    Task,
    TaskState,
)
from sluice.wire.agent import Engine, PhaseName, PlanOptions
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import PlanSummary, TaskType


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as the column holds them: equal labels are equal texts."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def labels_of(text: str) -> dict[str, str]:
    """Labels from their column."""
    labels: dict[str, str] = json.loads(text)
    return labels


def task_values(task: Task) -> dict[str, Any]:
    """A task as columns."""
    lease, log = task.lease, task.log
    return {
        "id": task.id,
        "sequence": task.sequence,
        "version": task.version,
        "workspace_id": task.workspace_id,
        "organization_id": task.organization_id,
        "pool_id": task.pool_id,
        "labels": labels_text(task.labels),
        "task_type": task.task_type.value,
        "state": task.state.value,
        "status": task.status.value,
        "stage": task.stage and task.stage.value,
        "reason": task.reason,
        "error": task.error,
        "message": task.message,
        "options": task.options.model_dump(mode="json"),
        "sealed_variables": task.sealed_variables,
        "auto_apply": task.auto_apply,
        "engine": task.engine.value,
        "terraform_version": task.terraform_version,
        "working_directory": task.working_directory,
        "configuration_version_id": task.configuration_version_id,
        "plan_task_id": task.plan_task_id,
        "resolved_version": task.resolved_version,
        "has_changes": task.has_changes,
        "summary": task.summary and task.summary.model_dump(by_alias=True),
        "plan_blob": task.plan_blob,
        "plan_json_blob": task.plan_json_blob,
        "script": task.script and asdict(task.script),
        "script_key": task.script.key or None if task.script else None,
        "sealed_script": task.sealed_script,
        "exit_code": task.exit_code,
        "gates": sorted(gate.value for gate in task.gates),
        "gate": task.gate and task.gate.value,
        "gate_overridden": task.gate_overridden,
        "phase": lease and lease.phase.value,
        "lease_id": lease and lease.id,
        "lease_agent_id": lease and lease.agent_id,
        "lease_expires_at": lease and lease.expires_at,
        "lease_started": lease is not None and lease.started,
        "agent_lost": task.agent_lost,
        "cancel_requested": task.cancel and task.cancel.value,
        "cancel_reason": task.cancel_reason,
        "last_agent_id": task.last_agent_id,
        "apply_offset": log.apply_offset,
        "apply_line": log.apply_line,
        "has_errors": log.has_errors,
        "plan_last_line": log.plan_last_line,
        "apply_last_line": log.apply_last_line,
        "plan_lines": log.plan_lines,
        "apply_lines": log.apply_lines,
        "script_lines": log.script_lines,
        "script_last_line": log.script_last_line,
        "log_sealed": log.sealed,
        "created_by": task.created_by,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
    }


def task_of(row: RowMapping) -> Task:
    """A task from its row."""
    summary = row["summary"]
    return Task(
        id=row["id"],
        workspace_id=row["workspace_id"],
        organization_id=row["organization_id"],
        task_type=TaskType(row["task_type"]),
        created_by=row["created_by"],
        created_at=row["created_at"],
        engine=Engine(row["engine"]),
        terraform_version=row["terraform_version"],
        working_directory=row["working_directory"],
        sequence=row["sequence"],
        version=row["version"],
        pool_id=row["pool_id"],
        labels=labels_of(row["labels"]),
        state=TaskState(row["state"]),
        stage=Stage(row["stage"]) if row["stage"] else None,
        reason=row["reason"],
        error=row["error"],
        message=row["message"],
        options=PlanOptions.model_validate(row["options"]),
        sealed_variables=row["sealed_variables"],
        auto_apply=row["auto_apply"],
        configuration_version_id=row["configuration_version_id"],
        plan_task_id=row["plan_task_id"],
        resolved_version=row["resolved_version"],
        has_changes=row["has_changes"],
        summary=None if summary is None else PlanSummary.model_validate(summary),
        plan_blob=row["plan_blob"],
        plan_json_blob=row["plan_json_blob"],
        script=None if row["script"] is None else ScriptFacts(**row["script"]),
        sealed_script=row["sealed_script"],
        exit_code=row["exit_code"],
        gates=frozenset(Gate(gate) for gate in row["gates"]),
        gate=Gate(row["gate"]) if row["gate"] else None,
        gate_overridden=row["gate_overridden"],
        lease=_lease(row),
        agent_lost=row["agent_lost"],
        cancel=CancelKind(row["cancel_requested"]) if row["cancel_requested"] else None,
        cancel_reason=row["cancel_reason"],
        last_agent_id=row["last_agent_id"],
        log=_figures(row),
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def _lease(row: RowMapping) -> Lease | None:
    if row["lease_id"] is None:
        return None
    return Lease(
        row["lease_id"],
        row["lease_agent_id"],
        PhaseName(row["phase"]),
        row["lease_expires_at"],
        row["lease_started"],
    )


def _figures(row: RowMapping) -> LogFigures:
    return LogFigures(
        apply_offset=row["apply_offset"],
        apply_line=row["apply_line"],
        plan_lines=row["plan_lines"],
        apply_lines=row["apply_lines"],
        plan_last_line=row["plan_last_line"],
        apply_last_line=row["apply_last_line"],
        has_errors=row["has_errors"],
        sealed=row["log_sealed"],
        script_lines=row["script_lines"],
        script_last_line=row["script_last_line"],
    )


def lease_values(lease: LeaseRecord) -> dict[str, Any]:
    """A lease as columns."""
    return {
        "id": lease.id,
        "task_id": lease.task_id,
        "agent_id": lease.agent_id,
        "phase": lease.phase.value,
        "epoch": lease.epoch,
        "log_offset": lease.log_offset,
        "log_line": lease.log_line,
        "base_state_id": lease.base_state_id,
        "claimed_at": lease.claimed_at,
        "ended_at": lease.ended_at,
        "outcome": lease.outcome and lease.outcome.value,
        "log_end": lease.log_end,
    }


def lease_record(row: RowMapping) -> LeaseRecord:
    """A lease from its row."""
    return LeaseRecord(
        id=row["id"],
        task_id=row["task_id"],
        agent_id=row["agent_id"],
        phase=PhaseName(row["phase"]),
        epoch=row["epoch"],
        log_offset=row["log_offset"],
        log_line=row["log_line"],
        claimed_at=row["claimed_at"],
        base_state_id=row["base_state_id"],
        ended_at=row["ended_at"],
        outcome=LeaseOutcome(row["outcome"]) if row["outcome"] else None,
        log_end=row["log_end"],
    )
