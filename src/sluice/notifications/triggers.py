"""Decides which change of a task is told, and by which name."""

from sluice.tasks.model import Task, TaskState
from sluice.wire.notification import Trigger

_BY_STATE: dict[TaskState, Trigger] = {
    TaskState.PLANNING: Trigger.PLANNING,
    TaskState.APPLY_PENDING: Trigger.NEEDS_ATTENTION,
    TaskState.BLOCKED: Trigger.NEEDS_ATTENTION,
    TaskState.APPLYING: Trigger.APPLYING,
    TaskState.SUCCESS: Trigger.COMPLETED,
    TaskState.FAILED: Trigger.ERRORED,
    TaskState.CANCELED: Trigger.CANCELED,
    TaskState.DISCARDED: Trigger.CANCELED,
}


def trigger_of(before: Task | None, after: Task) -> Trigger | None:
    """What a change is told as; None for what nobody is told of.

    Args:
        before: the task as it was; None for a new one.
        after: the task as it is; scripts lie in no workspace, and nobody is told of them.
    """
    if after.workspace_id is None:
        return None
    if before is None:
        return Trigger.CREATED
    if before.state is not after.state:
        return _BY_STATE.get(after.state)
    if after.agent_lost and not before.agent_lost:
        return Trigger.AGENT_LOST
    return None


def in_order(given: list[Trigger]) -> tuple[Trigger, ...]:
    """Triggers, each once, in the order of a task's way."""
    return tuple(trigger for trigger in Trigger if trigger in given)
