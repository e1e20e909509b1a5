"""What becomes of a task at a gate: it is answered, or somebody cancels the task there."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sluice.base.errors import ConflictError
from sluice.tasks import gates
from sluice.tasks.endings import decided_plan, finish, stop_at
from sluice.tasks.events import (
    CloseGate,
    Effect,
    GateAnswered,
    GateReached,
    Step,
    WakeQueue,
    WriteNote,
)
from sluice.tasks.model import Gate, Task, TaskState

STANDING = frozenset({TaskState.AT_GATE, TaskState.BLOCKED})
"""States in which a task stands at a gate."""


def at_gate(task: Task, event: GateReached | GateAnswered, now: datetime) -> Step:
    """The task comes to the gate before its first phase, or is answered at one.

    Raises:
        ConflictError: it has no such gate, or stands at another.
    """
    match event:
        case GateReached():
            if task.gate is None:
                raise ConflictError(f"{task.id} has no gate before its first phase.")
            return stop_at(task, task.gate)
        case GateAnswered():
            return _answered(task, event, now)
        case _:
            assert_never(event)


def _answered(task: Task, event: GateAnswered, now: datetime) -> Step:
    if task.gate is not event.gate:
        raise ConflictError(f"{task.id} does not stand at the gate {event.gate}.")
    passed, gate = event.verdict.passed, event.gate
    close = CloseGate(gate, passed=passed)
    if not passed:
        task = replace(task, log=replace(task.log, has_errors=True))
    if gate is Gate.POST_APPLY:
        # what is applied stays applied
        return finish(task, TaskState.SUCCESS, now, reason="applied", first=(close,))
    if not passed:
        error = event.verdict.text or f"The answer at {gate} was no."
        if event.verdict.overridable and gates.is_attended(task):
            return _blocked(task, gate, error)
        return finish(task, TaskState.FAILED, now, error=error, first=(close,))
    further = gates.following(task, gate)
    if further is not None:
        return stop_at(task, further, (close,))
    return _behind(Step(_past(task), (close,)), gate, now)


def _blocked(task: Task, gate: Gate, why: str) -> Step:
    """A person may let it pass; until then it stands here."""
    text = f"blocked at {gate}: {why.rstrip('.')}"
    reason = f"{text}; an administrator may override that, or discard the task"
    blocked = replace(task, state=TaskState.BLOCKED, reason=reason)
    if blocked == task:
        return Step(task)
    return Step(blocked, (WriteNote(text, error=True),))


def left(task: Task) -> tuple[Effect, ...]:
    """What ends the stage of the gate at which a task stands that is given up there."""
    if task.state not in STANDING or task.gate is None:
        return ()
    return (CloseGate(task.gate, passed=False),)


def canceled_at(task: Task, actor: str, by: str, now: datetime) -> Step:
    """Somebody cancels a task that stands at a gate; what is applied stays applied."""
    gate = gate_of(task)
    close = CloseGate(gate, passed=False)
    if gate is Gate.POST_APPLY:
        note = WriteNote(f"{gate} canceled {by}; the changes are applied", actor)
        return finish(
            task, TaskState.SUCCESS, now, reason="applied", first=(note, close)
        )
    note = WriteNote(f"canceled {by}", actor)
    return finish(task, TaskState.CANCELED, now, reason=note.text, first=(note, close))


def gate_of(task: Task) -> Gate:
    """The gate at which the task stands.

    Raises:
        ConflictError: it stands at none.
    """
    if task.state not in STANDING or task.gate is None:
        raise ConflictError(f"{task.id} is `{task.state}` and stands at no gate.")
    return task.gate


def _past(task: Task) -> Task:
    return replace(task, stage=None, gate=None, reason="")


def _behind(done: Step, gate: Gate, now: datetime) -> Step:
    """Where the way goes on behind the last gate of its place."""
    task, effects = done.task, done.effects
    if gates.is_entry(task, gate):
        return Step(replace(task, state=TaskState.QUEUED), (*effects, WakeQueue()))
    if gate is Gate.PRE_APPLY:
        return Step(replace(task, state=TaskState.APPLY_READY), (*effects, WakeQueue()))
    onward = decided_plan(task, now)
    return Step(onward.task, (*effects, *onward.effects))
