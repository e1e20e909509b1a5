"""Turns stored tasks into the resources people read."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.tasks.events import (
    CancelAsked,
    Confirmed,
    Discarded,
    ForceCancelAsked,
)
from sluice.tasks.lifecycle import allows
from sluice.tasks.model import ActionRecord, Gate, StageRecord, Task, TaskState
from sluice.tasks.stages import current, milliseconds, shown, timings
from sluice.terraform.plan_json import PlanJson
from sluice.wire.shapes import states as states_shapes
from sluice.wire.shapes import tasks as tasks_shapes


@dataclass(frozen=True, slots=True)
class TaskDetails:
    """A task with what is looked up beside it."""

    task: Task
    reason: str
    stages: Sequence[StageRecord]
    actions: Sequence[ActionRecord]
    agent_name: str | None


def task_resource(details: TaskDetails) -> tasks_shapes.Task:
    """A task with its stages, as `GET /api/v1/tasks/{id}` answers."""
    task = details.task
    stages = shown(task, details.stages)
    stage = current(task)
    return tasks_shapes.Task(
        id=task.id,
        workspace_id=task.workspace_id,
        organization_id=task.organization_id,
        task_type=task.task_type,
        status=task.status,
        stage=stage.value if stage else None,
        reason=details.reason,
        error=task.error,
        message=task.message,
        options=_options(task),
        auto_apply=task.auto_apply,
        configuration_version_id=task.configuration_version_id,
        plan_task_id=task.plan_task_id,
        created_by=task.created_by,
        created_at=task.created_at,
        started_at=task.started_at,
        completed_at=task.completed_at,
        duration=duration_of(task),
        agent_id=task.last_agent_id,
        agent_name=details.agent_name,
        has_changes=task.has_changes,
        summary=task.summary,
        stages=[_stage(stage) for stage in stages],
        stage_timings=timings(stages),
        actions=[
            tasks_shapes.TaskAction(
                action=action.action,
                actor=action.actor,
                reason=action.reason,
                at=action.at,
            )
            for action in details.actions
        ],
        can_confirm=allows(task, Confirmed),
        can_discard=allows(task, Discarded),
        can_cancel=allows(task, CancelAsked) and task.cancel is None,
        can_force_cancel=allows(task, ForceCancelAsked),
        gate=_gate(task),
        gates=[gate.value for gate in Gate if gate in task.gates],
        blocked=task.state is TaskState.BLOCKED,
        gate_overridden=task.gate_overridden,
        script=_script(task),
        exit_code=task.exit_code,
        resolved_version=task.resolved_version,
    )


def task_row(task: Task, reason: str) -> tasks_shapes.TaskRow:
    """A task as lists show it."""
    stage = current(task)
    return tasks_shapes.TaskRow(
        id=task.id,
        workspace_id=task.workspace_id,
        task_type=task.task_type,
        status=task.status,
        stage=stage.value if stage else None,
        reason=reason,
        message=task.message,
        created_by=task.created_by,
        created_at=task.created_at,
        completed_at=task.completed_at,
        duration=duration_of(task),
        options=_options(task),
        summary=task.summary,
        log_summary=tasks_shapes.LogSummary(
            plan_lines=task.log.plan_lines,
            apply_lines=task.log.apply_lines,
            has_errors=task.log.has_errors,
            last_line=task.log.last_line,
            script_lines=task.log.script_lines,
        ),
        script=_script(task),
        exit_code=task.exit_code,
    )


def _gate(task: Task) -> str | None:
    """Where it stands or failed; what a queued task is to come to is not there yet."""
    there = task.gate is not None and task.state is not TaskState.QUEUED
    return task.gate.value if task.gate and there else None


def _options(task: Task) -> tasks_shapes.TaskOptions:
    return tasks_shapes.TaskOptions.model_validate(task.options.model_dump())


def _script(task: Task) -> tasks_shapes.TaskScript | None:
    script = task.script
    if script is None:
        return None
    return tasks_shapes.TaskScript(
        name=script.name, key=script.key, version=script.version
    )


def duration_of(task: Task) -> float | None:
    """Seconds from when its first phase was claimed to its end, once it has ended."""
    if task.started_at is None or task.completed_at is None:
        return None
    return round((task.completed_at - task.started_at).total_seconds(), 3)


def _stage(stage: StageRecord) -> tasks_shapes.TaskStage:
    took = milliseconds(stage)
    return tasks_shapes.TaskStage(
        name=stage.stage.value,
        phase=stage.phase.value,
        status=stage.status,
        started_at=stage.started_at,
        completed_at=stage.completed_at,
        duration=None if took is None else took / 1000,
    )


def resource_changes(plan: PlanJson) -> tasks_shapes.ResourceChanges:
    """All changes of a plan, masked."""
    return tasks_shapes.ResourceChanges(
        resource_changes=[
            tasks_shapes.ResourceChange(
                address=change.address,
                type=change.type,
                name=change.name,
                module_address=change.module_address,
                provider_name=change.provider_name,
                actions=change.actions,
                before=change.before,
                after=change.after,
                after_unknown=change.after_unknown,
                replace_paths=list(change.replace_paths),
                action_reason=change.action_reason,
            )
            for change in plan.resource_changes
        ],
        summary=summary_of(plan),
    )


def summary_of(plan: PlanJson) -> tasks_shapes.PlanSummary:
    """How many resources a plan changes, by action."""
    total = plan.summary
    return tasks_shapes.PlanSummary(
        add=total.add,
        change=total.change,
        destroy=total.destroy,
        import_=total.imports,
    )


def planned_outputs(plan: PlanJson) -> list[states_shapes.OutputValue]:
    """The outputs as they will be, sensitive values hidden."""
    return [
        states_shapes.OutputValue(
            name=output.name,
            sensitive=output.sensitive,
            type=output.type,
            value=output.value,
        )
        for output in plan.outputs
    ]
