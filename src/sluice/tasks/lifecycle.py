"""The table of a task's states and events, and the one function that applies it.

====================  =================================================================
state                 what may happen there
====================  =================================================================
`queued`              an agent claims the first phase; cancel
`planning`            started, plan ended, lease renewed or expired; cancel, force-cancel
`apply_pending`       confirm, discard, cancel
`apply_ready`         an agent claims the apply phase; cancel
`applying`            started, apply ended, lease renewed or expired; cancel, force-cancel
`success`, `failed`,
`canceled`,
`discarded`           nothing
====================  =================================================================

A lost plan phase is queued again. An apply that may have begun never is: the task waits
for its agent, and only a force-cancel ends it.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sluice.base.errors import ConflictError
from sluice.tasks import gates
from sluice.tasks.events import (
    CancelAsked,
    Claimed,
    Confirmed,
    Discarded,
    Effect,
    Event,
    FenceLog,
    ForceCancelAsked,
    LeaseExpired,
    LeaseRenewed,
    MarkDiverged,
    OrderFailed,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Started,
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


_LEASED: frozenset[type[Event]] = frozenset(
    {
        Started,
        LeaseRenewed,
        LeaseExpired,
        PhaseEnded,
        OrderFailed,
        CancelAsked,
        ForceCancelAsked,
    }
)

TABLE: dict[TaskState, frozenset[type[Event]]] = {
    TaskState.QUEUED: frozenset({Claimed, CancelAsked}),
    TaskState.PLANNING: _LEASED,
    TaskState.APPLY_PENDING: frozenset({Confirmed, Discarded, CancelAsked}),
    TaskState.APPLY_READY: frozenset({Claimed, CancelAsked}),
    TaskState.APPLYING: _LEASED,
    TaskState.SUCCESS: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELED: frozenset(),
    TaskState.DISCARDED: frozenset(),
}

_VERBS: dict[type[Event], str] = {
    Claimed: "be claimed",
    Started: "be started",
    LeaseRenewed: "have its lease renewed",
    LeaseExpired: "lose its agent",
    PhaseEnded: "have a phase finished",
    OrderFailed: "have its order fail",
    Confirmed: "be confirmed",
    Discarded: "be discarded",
    CancelAsked: "be canceled",
    ForceCancelAsked: "be force-canceled",
}

STATE_WORDS: dict[TaskState, str] = {
    TaskState.QUEUED: "is in the queue",
    TaskState.PLANNING: "is planning",
    TaskState.APPLY_PENDING: "waits for confirmation",
    TaskState.APPLY_READY: "waits for an agent to apply it",
    TaskState.APPLYING: "is applying",
    TaskState.SUCCESS: "has succeeded",
    TaskState.FAILED: "has failed",
    TaskState.CANCELED: "was canceled",
    TaskState.DISCARDED: "was discarded",
}


def allows(task: Task, event: type[Event]) -> bool:
    """Whether this kind of event may happen to the task now."""
    return event in TABLE[task.state]


def step(task: Task, event: Event, now: datetime) -> Step:
    """What becomes of ``task`` by ``event`` at ``now``.

    Raises:
        ConflictError: that cannot happen to a task in this state.
    """
    if not allows(task, type(event)):
        raise ConflictError(_refusal(task, type(event)))
    match event:
        case Claimed() | Started() | LeaseRenewed():
            return _at_work(task, event, now)
        case LeaseExpired():
            return _lost(task, event, now)
        case PhaseEnded():
            return _ended(task, event, now)
        case OrderFailed():
            return _finish(task, TaskState.FAILED, now, error=event.error)
        case Confirmed() | Discarded() | CancelAsked() | ForceCancelAsked():
            return _asked(task, event, now)
        case _:
            assert_never(event)


def _refusal(task: Task, event: type[Event]) -> str:
    wanted = [STATE_WORDS[state] for state in TaskState if event in TABLE[state]]
    return (
        f"{task.id} {STATE_WORDS[task.state]} and cannot {_VERBS[event]};"
        f" that takes a task that {' or '.join(wanted)}."
    )


# --- an agent works ----------------------------------------------------------


def _at_work(
    task: Task, event: Claimed | Started | LeaseRenewed, now: datetime
) -> Step:
    match event:
        case Claimed():
            return _claimed(task, event.lease, now)
        case Started():
            lease = replace(_lease(task), started=True)
            return Step(replace(task, lease=lease))
        case LeaseRenewed():
            return _renewed(task, event)
        case _:
            assert_never(event)


def _claimed(task: Task, lease: Lease, now: datetime) -> Step:
    planning = lease.phase is PhaseName.PLAN
    claimed = replace(
        task,
        state=TaskState.PLANNING if planning else TaskState.APPLYING,
        lease=lease,
        last_agent_id=lease.agent_id,
        stage=None,
        reason="",
        started_at=task.started_at or now,
    )
    return Step(claimed)


def _renewed(task: Task, event: LeaseRenewed) -> Step:
    lease = replace(_lease(task), expires_at=event.expires_at)
    reason = f"being canceled {task.cancel_reason}" if task.cancel else ""
    return Step(
        replace(
            task,
            lease=lease,
            agent_lost=False,
            reason=reason if task.agent_lost else task.reason,
        )
    )


def _lost(task: Task, event: LeaseExpired, now: datetime) -> Step:
    lease = _lease(task)
    heard = f"agent {event.agent_name} was not heard of since {event.last_heard}"
    lost = WriteAgentLost(lease.agent_id, lease.id, f"{heard}; its lease ran out")
    if task.state is TaskState.APPLYING and lease.started:
        if task.cancel is CancelKind.FORCE_CANCEL:
            return _abandoned(task, now, lost)
        return Step(
            replace(
                task,
                agent_lost=True,
                reason=f"agent lost during apply: {heard}; it will be taken up when"
                " the agent comes back, or force-cancel it",
            )
        )
    if task.cancel is not None:
        return _finish(
            task, TaskState.CANCELED, now, reason=_canceled(task), first=(lost,)
        )
    if task.state is TaskState.PLANNING and event.losses >= MAX_LOST_PLANS:
        error = f"{event.losses} agents were lost while they planned; {heard}."
        return _finish(task, TaskState.FAILED, now, error=error, first=(lost,))
    waiting = TaskState.QUEUED
    if task.state is TaskState.APPLYING and task.task_type is not TaskType.APPLY:
        waiting = TaskState.APPLY_READY
    requeued = replace(
        task, state=waiting, lease=None, agent_lost=False, stage=None, reason=""
    )
    return Step(requeued, (FenceLog(), lost, WakeQueue()))


def _abandoned(task: Task, now: datetime, lost: WriteAgentLost) -> Step:
    text = (
        f"{task.id} was force-canceled {task.cancel_reason} while its agent was lost"
        " during apply; what it changed is in no stored state."
    )
    return _finish(
        task,
        TaskState.CANCELED,
        now,
        reason=f"{_canceled(task)}; the agent was lost during apply",
        first=(lost, MarkDiverged(text)),
    )


def _ended(task: Task, event: PhaseEnded, now: datetime) -> Step:
    task = replace(task, lease=_lease(task), agent_lost=False)
    if event.has_changes is not None:
        task = replace(task, has_changes=event.has_changes)
    diverged: tuple[Effect, ...] = ()
    if event.state_diverged:
        agent = _lease(task).agent_id
        diverged = (
            MarkDiverged(
                f"The state of {task.id} could not be stored; it is kept on {agent}."
            ),
        )
    match event.outcome:
        case PhaseOutcome.FAILED:
            error = event.error or "The agent gave no reason."
            return _finish(task, TaskState.FAILED, now, error=error, first=diverged)
        case PhaseOutcome.CANCELED:
            reason = _canceled(task) if task.cancel else "canceled on the agent"
            return _finish(
                task,
                TaskState.CANCELED,
                now,
                reason=reason,
                error=event.error,
                first=diverged,
            )
        case PhaseOutcome.SUCCEEDED:
            if task.state is TaskState.APPLYING:
                onward = gates.through(Gate.POST_APPLY, TaskState.SUCCESS)
                return _finish(task, onward, now, reason="applied", first=diverged)
            return _planned(task, now)
        case _:
            assert_never(event.outcome)


def _planned(task: Task, now: datetime) -> Step:
    if task.task_type is TaskType.PLAN:
        reason = "nothing to change" if task.has_changes is False else "planned"
        onward = gates.through(Gate.POST_PLAN, TaskState.SUCCESS)
        return _finish(task, onward, now, reason=reason)
    if task.cancel is not None:
        return _finish(task, TaskState.CANCELED, now, reason=_canceled(task))
    if task.has_changes is False:
        onward = gates.through(Gate.POST_PLAN, TaskState.SUCCESS)
        return _finish(task, onward, now, reason="nothing to change")
    if task.plan_blob is None:
        error = "The agent reported a plan but stored no plan file; plan again."
        return _finish(task, TaskState.FAILED, now, error=error)
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


# --- somebody asks -------------------------------------------------------------


def _asked(
    task: Task,
    event: Confirmed | Discarded | CancelAsked | ForceCancelAsked,
    now: datetime,
) -> Step:
    by = _by(event.actor, event.reason)
    match event:
        case Confirmed():
            ready = replace(
                task,
                state=gates.through(Gate.PRE_APPLY, TaskState.APPLY_READY),
                reason="",
            )
            return Step(ready, (WriteNote(f"confirmed {by}", event.actor), WakeQueue()))
        case Discarded():
            note = WriteNote(f"discarded {by}", event.actor)
            return _finish(
                task, TaskState.DISCARDED, now, reason=note.text, first=(note,)
            )
        case CancelAsked():
            return _cancel(task, event.actor, by, now)
        case ForceCancelAsked():
            return _force_cancel(task, event.actor, by, now)
        case _:
            assert_never(event)


def _cancel(task: Task, actor: str, by: str, now: datetime) -> Step:
    if task.lease is None:
        note = WriteNote(f"canceled {by}", actor)
        return _finish(task, TaskState.CANCELED, now, reason=note.text, first=(note,))
    if task.cancel is not None:
        return Step(task)
    asked = replace(task, cancel=CancelKind.CANCEL, cancel_reason=by)
    if task.agent_lost:
        return Step(asked)
    return Step(replace(asked, reason=f"being canceled {by}"))


def _force_cancel(task: Task, actor: str, by: str, now: datetime) -> Step:
    lease = _lease(task)
    asked = replace(
        task,
        cancel=CancelKind.FORCE_CANCEL,
        cancel_reason=by,
        reason=f"being force-canceled {by}",
    )
    if not task.agent_lost and now < lease.expires_at:
        return Step(asked)
    text = f"force-canceled {by}; the agent is lost"
    lost = WriteAgentLost(lease.agent_id, lease.id, text)
    if task.state is TaskState.APPLYING and lease.started:
        return _abandoned(asked, now, lost)
    return _finish(asked, TaskState.CANCELED, now, reason=text, first=(lost,))


# --- the end -------------------------------------------------------------------


def _finish(
    task: Task,
    state: TaskState,
    now: datetime,
    *,
    reason: str = "",
    error: str = "",
    first: tuple[Effect, ...] = (),
) -> Step:
    ended = replace(
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
    return Step(ended, (*fence, *first, *lock, WakeQueue(), SealLog()))


def _lease(task: Task) -> Lease:
    if task.lease is None:
        raise ConflictError(f"{task.id} is `{task.state}`; no agent holds a lease.")
    return task.lease


def _canceled(task: Task) -> str:
    force = "force-" if task.cancel is CancelKind.FORCE_CANCEL else ""
    return f"{force}canceled {task.cancel_reason}"


def _by(actor: str, reason: str) -> str:
    return f"by {actor}: {reason}" if reason else f"by {actor}"
