"""How a phase ends, well, badly or out of sight, and what then becomes of its task."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sluice.base.errors import ConflictError
from sluice.tasks import gates
from sluice.tasks.events import (
    Effect,
    EndGates,
    FenceLog,
    GivenUp,
    LeaseExpired,
    MarkDiverged,
    OpenGate,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Step,
    WakeQueue,
    WriteAgentLost,
    WriteNote,
)
from sluice.tasks.model import CancelKind, Gate, Lease, Task, TaskState
from sluice.wire.agent import PhaseName, PhaseOutcome
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import TaskType

MAX_LOST_PLANS = 3
"""A plan whose agents were lost so often is not queued again."""

_BEGUN = {
    TaskState.APPLYING: "apply",
    TaskState.RUNNING: "the script",
}
"""What is never done a second time once it may have begun."""


def lease_of(task: Task) -> Lease:
    """The present lease.

    Raises:
        ConflictError: there is none.
    """
    if task.lease is None:
        raise ConflictError(f"{task.id} is `{task.state}`; no agent holds a lease.")
    return task.lease


# --- the holder was not heard of -------------------------------------------------


def unheard(task: Task, event: LeaseExpired | GivenUp, now: datetime) -> Step:
    """What becomes of a phase whose holder was not heard of for as long as is waited."""
    match event:
        case LeaseExpired():
            return _lost(task, event, now)
        case GivenUp():
            return _given_up(task, event, now)
        case _:
            assert_never(event)


def _lost(task: Task, event: LeaseExpired, now: datetime) -> Step:
    """What may have begun to change something waits for its agent; all else is queued again."""
    lease = lease_of(task)
    heard = f"{event.holder} was not heard of since {event.last_heard}"
    gone = WriteAgentLost(lease.agent_id, lease.id, f"{heard}; its lease ran out")
    if task.state in _BEGUN and lease.started:
        if task.cancel is CancelKind.FORCE_CANCEL:
            return abandoned(task, now, gone)
        return Step(
            replace(
                task,
                agent_lost=True,
                reason=f"agent lost during {_BEGUN[task.state]}:"
                f" {event.holder} is unreachable since {event.last_heard}; it will be"
                " taken up when the agent comes back, or force-cancel it",
            )
        )
    if task.cancel is not None:
        return finish(
            task, TaskState.CANCELED, now, reason=canceled(task), first=(gone,)
        )
    if task.state is TaskState.PLANNING and event.losses >= MAX_LOST_PLANS:
        error = f"{event.losses} agents were lost while they planned; {heard}."
        return finish(task, TaskState.FAILED, now, error=error, first=(gone,))
    waiting = TaskState.QUEUED
    if task.state is TaskState.APPLYING and task.task_type is not TaskType.APPLY:
        waiting = TaskState.APPLY_READY
    requeued = replace(
        task, state=waiting, lease=None, agent_lost=False, stage=None, reason=""
    )
    return Step(requeued, (FenceLog(), gone, WakeQueue()))


def _given_up(task: Task, event: GivenUp, now: datetime) -> Step:
    """A script whose agent did not come back fails: it is not known how it ended."""
    lease = lease_of(task)
    error = (
        f"{event.holder} was not heard of since {event.last_heard} and did not come back;"
        " whether the script reached its end is not known."
    )
    gone = WriteAgentLost(lease.agent_id, lease.id, error)
    return finish(task, TaskState.FAILED, now, error=error, first=(gone,))


def abandoned(task: Task, now: datetime, gone: WriteAgentLost) -> Step:
    """A begun phase is ended by force, without its agent."""
    what = _BEGUN[task.state]
    marks: tuple[Effect, ...] = ()
    if task.state is TaskState.APPLYING:
        text = (
            f"{task.id} was force-canceled {task.cancel_reason} while its agent was lost"
            " during apply; what it changed is in no stored state."
        )
        marks = (MarkDiverged(text),)
    return finish(
        task,
        TaskState.CANCELED,
        now,
        reason=f"{canceled(task)}; the agent was lost during {what}",
        first=(gone, *marks),
    )


# --- the agent reports the end ---------------------------------------------------


def ended(task: Task, event: PhaseEnded, now: datetime) -> Step:
    """What becomes of a task whose phase has ended."""
    phase = lease_of(task).phase
    task = replace(
        task,
        agent_lost=False,
        exit_code=event.exit_code if phase is PhaseName.SCRIPT else None,
    )
    if phase is PhaseName.PLAN and event.engine_version:
        task = replace(task, resolved_version=event.engine_version)
    if event.has_changes is not None:
        task = replace(task, has_changes=event.has_changes)
    diverged = _diverged(task, event)
    match event.outcome:
        case PhaseOutcome.FAILED:
            error = event.error or _why(phase, event)
            return finish(task, TaskState.FAILED, now, error=error, first=diverged)
        case PhaseOutcome.CANCELED:
            return finish(
                task,
                TaskState.CANCELED,
                now,
                reason=canceled(task) if task.cancel else "canceled on the agent",
                error=event.error,
                first=diverged,
            )
        case PhaseOutcome.SUCCEEDED:
            return _succeeded(task, phase, now, diverged)
        case _:
            assert_never(event.outcome)


def _why(phase: PhaseName, event: PhaseEnded) -> str:
    if phase is not PhaseName.SCRIPT or event.exit_code is None:
        return "The agent gave no reason."
    return f"The script ended with exit code {event.exit_code}."


def _diverged(task: Task, event: PhaseEnded) -> tuple[Effect, ...]:
    """What to say at the workspace of a state that could not be stored."""
    if not event.state_diverged or task.workspace_id is None:
        return ()
    if event.state_kept:
        agent = lease_of(task).agent_id
        text = f"The state of {task.id} could not be stored; it is kept on {agent}."
    else:
        text = (
            f"{task.id} ended before Terraform wrote its state: what it had begun to"
            " create is in no state. Look for it in the infrastructure before anything"
            " else is applied."
        )
    return (MarkDiverged(text),)


def _succeeded(
    task: Task, phase: PhaseName, now: datetime, diverged: tuple[Effect, ...]
) -> Step:
    match phase:
        case PhaseName.PLAN:
            return _planned(task, now)
        case PhaseName.APPLY:
            return _applied(task, now, diverged)
        case PhaseName.SCRIPT:
            code = task.exit_code or 0
            reason = f"the script ended with exit code {code}"
            return finish(task, TaskState.SUCCESS, now, reason=reason)
        case _:
            assert_never(phase)


def _planned(task: Task, now: datetime) -> Step:
    gate = gates.after_plan(task)
    ends_here = task.task_type is TaskType.PLAN and gate is None
    if task.cancel is not None and not ends_here:
        return finish(task, TaskState.CANCELED, now, reason=canceled(task))
    nothing = task.has_changes is False
    if task.task_type is not TaskType.PLAN and not nothing and task.plan_blob is None:
        error = "The agent reported a plan but stored no plan file; plan again."
        return finish(task, TaskState.FAILED, now, error=error)
    if gate is not None:
        return stop_at(task, gate, (FenceLog(),))
    return decided_plan(task, now)


def _applied(task: Task, now: datetime, diverged: tuple[Effect, ...]) -> Step:
    gate = gates.after_apply(task)
    if gate is None:
        return finish(task, TaskState.SUCCESS, now, reason="applied", first=diverged)
    before = (FenceLog(), *diverged, ReleaseLock(), WakeQueue())
    return stop_at(task, gate, before)


def decided_plan(task: Task, now: datetime) -> Step:
    """What becomes of a task whose plan is made and let pass."""
    fence: tuple[Effect, ...] = (FenceLog(),) if task.lease else ()
    if task.has_changes is False:
        return finish(task, TaskState.SUCCESS, now, reason="nothing to change")
    if task.task_type is TaskType.PLAN:
        return finish(task, TaskState.SUCCESS, now, reason="planned")
    planned = replace(task, lease=None, stage=None, gate=None)
    if task.auto_apply:
        note = WriteNote("applying without confirmation")
        return on_to_apply(planned, (*fence, note))
    waiting = replace(
        planned, state=TaskState.APPLY_PENDING, reason="waits for confirmation"
    )
    return Step(waiting, fence)


def on_to_apply(task: Task, first: tuple[Effect, ...]) -> Step:
    """A plan that may be applied comes to the gate before that, or waits for an agent."""
    gate = gates.before_apply(task)
    if gate is not None:
        return stop_at(task, gate, first)
    ready = replace(task, state=TaskState.APPLY_READY, reason="")
    return Step(ready, (*first, WakeQueue()))


def stop_at(task: Task, gate: Gate, first: tuple[Effect, ...] = ()) -> Step:
    """The task stands at a gate and waits for its answer.

    A cancel that came too late for an apply is forgotten: at the gate it can be asked anew.
    """
    standing = replace(
        task,
        state=TaskState.AT_GATE,
        lease=None,
        stage=Stage(gate.value),
        gate=gate,
        cancel=None,
        cancel_reason="",
        reason=f"waits for the answer at {gate}",
    )
    return Step(standing, (*first, OpenGate(gate)))


# --- the end of all --------------------------------------------------------------


def finish(
    task: Task,
    state: TaskState,
    now: datetime,
    *,
    reason: str = "",
    error: str = "",
    first: tuple[Effect, ...] = (),
) -> Step:
    """The task in its last state, with all that has to be done about it."""
    last = replace(
        task,
        state=state,
        lease=None,
        agent_lost=False,
        stage=task.stage if state is TaskState.FAILED else None,
        gate=task.gate if state is TaskState.FAILED else None,
        reason=reason or f"failed: {error}",
        error=error,
        completed_at=now,
    )
    fence: tuple[Effect, ...] = (FenceLog(),) if task.lease else ()
    lock: tuple[Effect, ...] = (ReleaseLock(),) if task.blocks_others else ()
    asked: tuple[Effect, ...] = (EndGates(),) if task.gates else ()
    return Step(last, (*fence, *first, *asked, *lock, WakeQueue(), SealLog()))


def canceled(task: Task) -> str:
    """Who canceled the task, and why."""
    force = "force-" if task.cancel is CancelKind.FORCE_CANCEL else ""
    return f"{force}canceled {task.cancel_reason}"
