"""How a phase ends, well, badly or out of sight, and what then becomes of its task."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sluice.base.errors import ConflictError
from sluice.tasks import gates
from sluice.tasks.events import (
    Effect,
    FenceLog,
    GivenUp,
    LeaseExpired,
    MarkDiverged,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Step,
    WakeQueue,
    WriteAgentLost,
    WriteNote,
)
from sluice.tasks.gates import Gate
from sluice.tasks.model import CancelKind, Lease, Task, TaskState
from sluice.wire.agent import PhaseName, PhaseOutcome
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


def lost(task: Task, event: LeaseExpired, now: datetime) -> Step:
    """What becomes of a phase whose lease ran out.

    What may have begun to change something waits for its agent; all else is queued again.
    """
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


def given_up(task: Task, event: GivenUp, now: datetime) -> Step:
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
            onward = gates.through(Gate.POST_APPLY, TaskState.SUCCESS)
            return finish(task, onward, now, reason="applied", first=diverged)
        case PhaseName.SCRIPT:
            code = task.exit_code or 0
            reason = f"the script ended with exit code {code}"
            return finish(task, TaskState.SUCCESS, now, reason=reason)
        case _:
            assert_never(phase)


def _planned(task: Task, now: datetime) -> Step:
    if task.task_type is TaskType.PLAN:
        reason = "nothing to change" if task.has_changes is False else "planned"
        onward = gates.through(Gate.POST_PLAN, TaskState.SUCCESS)
        return finish(task, onward, now, reason=reason)
    if task.cancel is not None:
        return finish(task, TaskState.CANCELED, now, reason=canceled(task))
    if task.has_changes is False:
        onward = gates.through(Gate.POST_PLAN, TaskState.SUCCESS)
        return finish(task, onward, now, reason="nothing to change")
    if task.plan_blob is None:
        error = "The agent reported a plan but stored no plan file; plan again."
        return finish(task, TaskState.FAILED, now, error=error)
    planned = replace(task, lease=None, stage=None, reason="")
    if task.auto_apply:
        return Step(
            replace(
                planned, state=gates.through(Gate.PRE_APPLY, TaskState.APPLY_READY)
            ),
            (FenceLog(), WriteNote("applying without confirmation"), WakeQueue()),
        )
    return Step(
        replace(
            planned,
            state=gates.through(Gate.POST_PLAN, TaskState.APPLY_PENDING),
            reason="waits for confirmation",
        ),
        (FenceLog(),),
    )


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
        reason=reason or f"failed: {error}",
        error=error,
        completed_at=now,
    )
    fence: tuple[Effect, ...] = (FenceLog(),) if task.lease else ()
    lock: tuple[Effect, ...] = (ReleaseLock(),) if task.needs_lock else ()
    return Step(last, (*fence, *first, *lock, WakeQueue(), SealLog()))


def canceled(task: Task) -> str:
    """Who canceled the task, and why."""
    force = "force-" if task.cancel is CancelKind.FORCE_CANCEL else ""
    return f"{force}canceled {task.cancel_reason}"
