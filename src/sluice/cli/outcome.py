"""How a task ended: in one line for people, and as an exit code."""

from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.wire.run_task import RunTaskStage
from sluice.wire.shapes.tasks import Task, TaskStatus, TaskType

_CODES = {
    TaskStatus.SUCCESS: ExitCode.OK,
    TaskStatus.FAILED: ExitCode.FAILED,
    TaskStatus.CANCELED: ExitCode.NOT_APPLIED,
    TaskStatus.DISCARDED: ExitCode.NOT_APPLIED,
}


def code_of_task(task: Task, *, detailed: bool = False) -> ExitCode:
    """The exit code of a task as it stands; one that still goes on is well so far.

    ``detailed`` tells a plan with changes from one without.
    """
    code = _CODES.get(task.status, ExitCode.OK)
    if detailed and code is ExitCode.OK and task.has_changes:
        return ExitCode.HAS_CHANGES
    return code


def sentence(task: Task) -> str:
    """How the task ended, with what it did or why not, and how long it took."""
    took = f" · {words.duration(task.duration)}" if task.duration is not None else ""
    return f"{_ending(task).rstrip('.')}{took}"


def after_gate(task: Task) -> str:
    """What a person may do about a task that was stopped at a gate; empty for others."""
    if task.blocked:
        return (
            f"`sluice run-task results {task.id}` shows what was found; `sluice run-task"
            f" override {task.id} NAME --reason WHY` lets it pass, `sluice task discard"
            f" {task.id}` drops it."
        )
    failed = task.status is TaskStatus.FAILED and not task.gate_overridden
    if failed and task.gate in {*RunTaskStage}:
        return f"`sluice run-task results {task.id}` shows what was found."
    return ""


def _ending(task: Task) -> str:
    match task.status:
        case TaskStatus.SUCCESS:
            return _success(task)
        case TaskStatus.FAILED:
            return _because("failed", task.error or task.reason)
        case TaskStatus.CANCELED | TaskStatus.DISCARDED:
            return _because(task.status, task.reason or task.error)
        case TaskStatus.APPLY_PENDING:
            return "The plan waits for confirmation"
        case _:
            return _because(task.status, task.reason)


def _because(word: str, why: str) -> str:
    """``Canceled by ann`` or ``Failed: out of disk``."""
    text = f"{word}: {why}" if why else word
    if why.startswith(word):
        text = why
    return text[0].upper() + text[1:]


def _success(task: Task) -> str:
    if task.task_type is TaskType.SCRIPT:
        return "Succeeded"
    if task.has_changes is False:
        return "No changes: the infrastructure matches the configuration"
    plan = task.summary
    if plan is None:
        return "Planned" if task.task_type is TaskType.PLAN else "Applied"
    if task.task_type is TaskType.PLAN:
        return f"Planned: {words.summary(plan)}"
    done = f"{plan.add} added, {plan.change} changed, {plan.destroy} destroyed"
    return (
        f"Applied: {plan.import_} imported, {done}"
        if plan.import_
        else f"Applied: {done}"
    )
