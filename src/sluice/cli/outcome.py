"""How a task ended: in one line for people, and as an exit code."""

from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.wire.resources import Task, TaskStatus, TaskType

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
    return f"{_ending(task)}{took}"


def _ending(task: Task) -> str:
    why = task.error or task.reason
    match task.status:
        case TaskStatus.SUCCESS:
            return _success(task)
        case TaskStatus.FAILED:
            return f"Failed: {why}" if why else "Failed"
        case TaskStatus.CANCELED:
            return f"Canceled: {why}" if why else "Canceled"
        case TaskStatus.DISCARDED:
            return f"Discarded: {why}" if why else "Discarded"
        case TaskStatus.APPLY_PENDING:
            return "The plan waits for confirmation"
        case _:
            return f"{task.status.value.capitalize()}: {why}" if why else task.status


def _success(task: Task) -> str:
    if task.has_changes is False:
        return "No changes: the infrastructure matches the configuration"
    plan = task.summary
    if plan is None:
        return "Done"
    if task.task_type is TaskType.PLAN:
        return f"Planned: {words.summary(plan)}"
    done = f"{plan.add} added, {plan.change} changed, {plan.destroy} destroyed"
    return (
        f"Applied: {plan.import_} imported, {done}"
        if plan.import_
        else f"Applied: {done}"
    )
