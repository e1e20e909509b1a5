"""Decides which gate stands before and after each phase, and where it lets a task go."""

from enum import StrEnum

from sluice.tasks.model import TaskState
from sluice.wire.agent import PhaseName


class Gate(StrEnum):
    """The question "may this task go on?" at one of four places."""

    PRE_PLAN = "pre_plan"
    POST_PLAN = "post_plan"
    PRE_APPLY = "pre_apply"
    POST_APPLY = "post_apply"


BEFORE: dict[PhaseName, Gate] = {
    PhaseName.PLAN: Gate.PRE_PLAN,
    PhaseName.APPLY: Gate.PRE_APPLY,
}
AFTER: dict[PhaseName, Gate] = {
    PhaseName.PLAN: Gate.POST_PLAN,
    PhaseName.APPLY: Gate.POST_APPLY,
}


def through(gate: Gate, onward: TaskState) -> TaskState:
    """The state of a task that comes to ``gate`` on its way to ``onward``.

    Nobody answers at gates yet, so each one is passed as soon as it is reached.
    """
    return onward
