"""Decides at which gates a task stops, in which order, and what an answer does to it.

Who answers stands above (`ports.GateKeeper`): run tasks at `pre_plan`, `post_plan`,
`pre_apply` and `post_apply`, prices at `cost_estimation`, policies at `policy_check`.
"""

from dataclasses import dataclass

from sluice.tasks.model import Gate, Task
from sluice.wire.agent import PhaseName
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import TaskType

AFTER_PLAN = (Gate.COST_ESTIMATION, Gate.POST_PLAN, Gate.POLICY_CHECK)
"""What stands between a plan and the decision to apply it."""

GATE_STAGES = frozenset(Stage(gate.value) for gate in Gate)
"""The stages that stand for gates; an agent never works on them."""

_ENTRY: dict[TaskType, tuple[Gate, ...]] = {
    TaskType.PLAN: (Gate.PRE_PLAN,),
    TaskType.PLAN_AND_APPLY: (Gate.PRE_PLAN,),
    # those after a plan only where the plan was let pass at an earlier one of them
    TaskType.APPLY: (*AFTER_PLAN, Gate.PRE_APPLY),
    TaskType.SCRIPT: (),
}
_LATER: dict[TaskType, tuple[tuple[Gate, ...], ...]] = {
    TaskType.PLAN: (AFTER_PLAN,),
    TaskType.PLAN_AND_APPLY: (AFTER_PLAN, (Gate.PRE_APPLY,), (Gate.POST_APPLY,)),
    TaskType.APPLY: ((Gate.POST_APPLY,),),
    TaskType.SCRIPT: (),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer at a gate.

    Attributes:
        passed: whether the task may go on.
        text: why not, in words.
        overridable: whether a person may let it pass all the same, by the keeper's means.
    """

    passed: bool
    text: str = ""
    overridable: bool = False


def possible(task_type: TaskType) -> tuple[Gate, ...]:
    """The gates that a task of this type may come to, in order.

    Those after a plan are left out for `apply`, whose plan stood at them.
    """
    if task_type is TaskType.APPLY:
        return (Gate.PRE_APPLY, Gate.POST_APPLY)
    groups = (_ENTRY[task_type], *_LATER[task_type])
    return tuple(gate for group in groups for gate in group)


def entry(task: Task) -> Gate | None:
    """The first gate before the task's first phase."""
    return _first(_ENTRY[task.task_type], task)


def after_plan(task: Task) -> Gate | None:
    """The first gate after the plan phase."""
    return _first(AFTER_PLAN, task)


def before_apply(task: Task) -> Gate | None:
    """The gate between a confirmation and the apply phase."""
    return _first((Gate.PRE_APPLY,), task)


def after_apply(task: Task) -> Gate | None:
    """The gate after the apply phase."""
    return _first((Gate.POST_APPLY,), task)


def following(task: Task, gate: Gate) -> Gate | None:
    """The next gate at the same place of the task's way, None where it goes on from here."""
    for group in (_ENTRY[task.task_type], *_LATER[task.task_type]):
        if gate in group:
            return _first(group[group.index(gate) + 1 :], task)
    return None


def is_entry(task: Task, gate: Gate) -> bool:
    """Whether the gate stands before the task's first phase."""
    return gate in _ENTRY[task.task_type]


def left_after(plan: Task) -> frozenset[Gate]:
    """The gates after a plan that a task which failed at one of them did not come to."""
    if plan.gate not in AFTER_PLAN:
        return frozenset()
    rest = AFTER_PLAN[AFTER_PLAN.index(plan.gate) + 1 :]
    return plan.gates & frozenset(rest)


def is_attended(task: Task) -> bool:
    """Whether a person is expected to decide about the task before it changes anything.

    Such a task waits where a person could let it pass; all others fail there, at once.
    """
    return task.task_type is not TaskType.PLAN and not task.auto_apply


def phase_at(task: Task, gate: Gate) -> PhaseName:
    """The phase whose stages the gate's stage stands among."""
    if gate in (Gate.PRE_APPLY, Gate.POST_APPLY):
        return PhaseName.APPLY
    return task.first_phase


def _first(among: tuple[Gate, ...], task: Task) -> Gate | None:
    return next((gate for gate in among if gate in task.gates), None)
