"""The table of a task's states and events, and the one function that applies it.

====================  =================================================================
state                 what may happen there
====================  =================================================================
`queued`              an agent claims the first phase, or the gate before it is reached; cancel
`at_gate`             the gate's keeper answers; cancel
`blocked`             the answer was no: the keeper answers anew; discard, cancel
`planning`            started, plan ended, lease renewed or expired; cancel, force-cancel
`apply_pending`       confirm, discard, cancel
`apply_ready`         an agent claims the apply phase; cancel
`applying`            started, apply ended, lease renewed or expired; cancel, force-cancel
`running`             as `applying`, of a script; given up
`success`, `failed`,
`canceled`,
`discarded`           nothing
====================  =================================================================

A lost plan phase is queued again. An apply or a script that may have begun never is: the
task waits for its agent. Only a force-cancel ends it before; a script is given up when its
agent does not come back for long (`lost_script_seconds`), an apply never is.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sluice.base.errors import ConflictError
from sluice.tasks.endings import (
    abandoned,
    ended,
    finish,
    lease_of,
    on_to_apply,
    unheard,
)
from sluice.tasks.events import (
    CancelAsked,
    Claimed,
    Confirmed,
    Discarded,
    Event,
    ForceCancelAsked,
    GateAnswered,
    GateReached,
    GivenUp,
    LeaseExpired,
    LeaseRenewed,
    OrderFailed,
    PhaseEnded,
    Started,
    Step,
    WriteAgentLost,
    WriteNote,
)
from sluice.tasks.gate_steps import STANDING, at_gate, canceled_at, left
from sluice.tasks.model import CancelKind, Lease, Task, TaskState
from sluice.wire.agent import PhaseName

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
    TaskState.QUEUED: frozenset({Claimed, GateReached, CancelAsked}),
    TaskState.AT_GATE: frozenset({GateAnswered, CancelAsked}),
    TaskState.BLOCKED: frozenset({GateAnswered, Discarded, CancelAsked}),
    TaskState.PLANNING: _LEASED,
    TaskState.APPLY_PENDING: frozenset({Confirmed, Discarded, CancelAsked}),
    TaskState.APPLY_READY: frozenset({Claimed, CancelAsked}),
    TaskState.APPLYING: _LEASED,
    TaskState.RUNNING: _LEASED | {GivenUp},
    TaskState.SUCCESS: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELED: frozenset(),
    TaskState.DISCARDED: frozenset(),
}

AT_WORK: dict[PhaseName, TaskState] = {
    PhaseName.PLAN: TaskState.PLANNING,
    PhaseName.APPLY: TaskState.APPLYING,
    PhaseName.SCRIPT: TaskState.RUNNING,
}
"""The state of a task while an agent holds a phase of it."""

_VERBS: dict[type[Event], str] = {
    Claimed: "be claimed",
    Started: "be started",
    LeaseRenewed: "have its lease renewed",
    LeaseExpired: "lose its agent",
    GivenUp: "be given up",
    PhaseEnded: "have a phase finished",
    OrderFailed: "have its order fail",
    GateReached: "come to its first gate",
    GateAnswered: "be answered at a gate",
    Confirmed: "be confirmed",
    Discarded: "be discarded",
    CancelAsked: "be canceled",
    ForceCancelAsked: "be force-canceled",
}

STATE_WORDS: dict[TaskState, str] = {
    TaskState.QUEUED: "is in the queue",
    TaskState.AT_GATE: "waits at a gate",
    TaskState.BLOCKED: "is blocked at a gate",
    TaskState.PLANNING: "is planning",
    TaskState.APPLY_PENDING: "waits for confirmation",
    TaskState.APPLY_READY: "waits for an agent to apply it",
    TaskState.APPLYING: "is applying",
    TaskState.RUNNING: "runs its script",
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
        case GateReached() | GateAnswered():
            return at_gate(task, event, now)
        case LeaseExpired() | GivenUp():
            return unheard(task, event, now)
        case PhaseEnded():
            return ended(task, event, now)
        case OrderFailed():
            return finish(task, TaskState.FAILED, now, error=event.error)
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
            lease = replace(lease_of(task), started=True)
            return Step(replace(task, lease=lease))
        case LeaseRenewed():
            return _renewed(task, event)
        case _:
            assert_never(event)


def _claimed(task: Task, lease: Lease, now: datetime) -> Step:
    if task.gate is not None:
        raise ConflictError(f"{task.id} has to come through {task.gate} first.")
    claimed = replace(
        task,
        state=AT_WORK[lease.phase],
        lease=lease,
        last_agent_id=lease.agent_id,
        stage=None,
        reason="",
        started_at=task.started_at or now,
    )
    return Step(claimed)


def _renewed(task: Task, event: LeaseRenewed) -> Step:
    lease = replace(lease_of(task), expires_at=event.expires_at)
    reason = f"being canceled {task.cancel_reason}" if task.cancel else ""
    return Step(
        replace(
            task,
            lease=lease,
            agent_lost=False,
            reason=reason if task.agent_lost else task.reason,
        )
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
            return on_to_apply(task, (WriteNote(f"confirmed {by}", event.actor),))
        case Discarded():
            note = WriteNote(f"discarded {by}", event.actor)
            first = (note, *left(task))
            return finish(task, TaskState.DISCARDED, now, reason=note.text, first=first)
        case CancelAsked():
            return _cancel(task, event.actor, by, now)
        case ForceCancelAsked():
            return _force_cancel(task, event.actor, by, now)
        case _:
            assert_never(event)


def _cancel(task: Task, actor: str, by: str, now: datetime) -> Step:
    if task.state in STANDING:
        return canceled_at(task, actor, by, now)
    if task.lease is None:
        note = WriteNote(f"canceled {by}", actor)
        return finish(task, TaskState.CANCELED, now, reason=note.text, first=(note,))
    if task.cancel is not None:
        return Step(task)
    asked = replace(task, cancel=CancelKind.CANCEL, cancel_reason=by)
    if task.agent_lost:
        return Step(asked)
    return Step(replace(asked, reason=f"being canceled {by}"))


def _force_cancel(task: Task, actor: str, by: str, now: datetime) -> Step:
    lease = lease_of(task)
    asked = replace(
        task,
        cancel=CancelKind.FORCE_CANCEL,
        cancel_reason=by,
        reason=f"being force-canceled {by}",
    )
    if not task.agent_lost and now < lease.expires_at:
        return Step(asked)
    text = f"force-canceled {by}; the agent is lost"
    gone = WriteAgentLost(lease.agent_id, lease.id, text)
    if lease.started and task.state is not TaskState.PLANNING:
        return abandoned(asked, now, gone)
    return finish(asked, TaskState.CANCELED, now, reason=text, first=(gone,))


def _by(actor: str, reason: str) -> str:
    return f"by {actor}: {reason}" if reason else f"by {actor}"
