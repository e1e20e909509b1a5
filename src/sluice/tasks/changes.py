"""Takes an event to a stored task: the lifecycle's step, its effects, and who is told."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

import structlog

from sluice.base.errors import NotFoundError, SluiceError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.events.topics import (
    GATES,
    QUEUE,
    agent_topic,
    log_topic,
    task_topic,
    workspace_topic,
)
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import (
    CancelAsked,
    Claimed,
    CloseGate,
    Confirmed,
    Discarded,
    Effect,
    EndGates,
    Event,
    FenceLog,
    ForceCancelAsked,
    GivenUp,
    LeaseExpired,
    MarkDiverged,
    OpenGate,
    PhaseEnded,
    ReleaseLock,
    SealLog,
    Started,
    WakeQueue,
    WriteAgentLost,
    WriteNote,
)
from sluice.tasks.gates import phase_at
from sluice.tasks.lifecycle import step
from sluice.tasks.model import Gate, LeaseOutcome, Task
from sluice.tasks.stages import begun, broken_off, ended
from sluice.wire.events import (
    AgentLost,
    Stage,
    StageBegin,
    StageEnd,
    StageOutcome,
    marker_line,
)
from sluice.wire.texts import one_line

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A task before and after an event, and what was to be done about it."""

    before: Task
    after: Task
    effects: tuple[Effect, ...] = ()


async def locked(deps: TaskDeps, tx: Tx, task_id: TaskId) -> Task:
    """The task, kept from others until the transaction ends.

    Raises:
        NotFoundError: there is no such task.
    """
    task = await deps.store.lock(tx, task_id)
    if task is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return task


async def happen(deps: TaskDeps, tx: Tx, task: Task, event: Event) -> Change:
    """Let ``event`` happen to a locked task: stored with its effects, all or nothing.

    What may only follow the commit (telling others, sealing the log) is done by `tell`.

    Raises:
        ConflictError: that cannot happen to the task in its state.
    """
    now = deps.clock.now()
    done = step(task, event, now)
    after = done.task
    if after != task:
        after = await deps.store.save(tx, after)
    change = Change(task, after, done.effects)
    log_end: int | None = None
    if FenceLog() in done.effects:
        log_end = (await deps.log.hand_over(tx, after.id)).offset
    if task.lease is not None and after.lease is None:
        # before a gate opens, whose stage does not end with the lease
        await _end_lease(deps, tx, change, _outcome(event), log_end)
    for effect in done.effects:
        await _carry_out(deps, tx, after, effect)
    await watch(deps, tx, change, _actor(task, event))
    return change


async def watch(deps: TaskDeps, tx: Tx, change: Change, actor: str) -> None:
    """Have the watchers write down a change in the transaction that makes it."""
    if change.after != change.before:
        for watcher in deps.watchers:
            await watcher.changed(tx, change.before, change.after, actor)


async def tell(deps: TaskDeps, change: Change) -> None:
    """Tell those who wait, and seal the log of a task that has ended."""
    task = change.after
    if change.before != task:
        deps.hub.publish(task_topic(task.id))
        if task.workspace_id is not None:
            deps.hub.publish(workspace_topic(task.workspace_id))
    if task.cancel is not None and task.cancel != change.before.cancel and task.lease:
        deps.hub.publish(agent_topic(task.lease.agent_id))
    if change.effects:
        deps.hub.publish(log_topic(task.id))
    if WakeQueue() in change.effects:
        deps.hub.publish(QUEUE)
    if any(isinstance(effect, OpenGate | EndGates) for effect in change.effects):
        deps.hub.publish(GATES)
    if SealLog() in change.effects:
        await seal_or_leave(deps, task)


async def seal_or_leave(deps: TaskDeps, task: Task) -> None:
    """Seal the log of an ended task; where that fails, the loop tries again.

    The task's state is committed by now: nobody should be told that it is not.
    """
    try:
        await seal(deps, task)
    except SluiceError as error:
        _logger.warning("log not sealed yet", task_id=task.id, detail=error.detail)


async def seal(deps: TaskDeps, task: Task) -> None:
    """Write the `end` of an ended task's log and remember that it is there."""
    await deps.log.seal(task.id, task.status.value)
    async with deps.transactions.write() as tx:
        present = await deps.store.lock(tx, task.id)
        if present is not None and not present.log.sealed:
            figures = replace(present.log, sealed=True)
            await deps.store.save(tx, replace(present, log=figures))
    deps.hub.publish(log_topic(task.id))


async def _carry_out(deps: TaskDeps, tx: Tx, task: Task, effect: Effect) -> None:
    match effect:
        case WriteNote(text, actor, error):
            line = one_line(text)
            await deps.log.note(tx, task.id, line, actor=actor, error=error)
        case WriteAgentLost(agent_id, lease_id, text):
            event = AgentLost(agent_id, lease_id)
            await deps.log.event(tx, task.id, event, f"{text}\n".encode())
        case OpenGate(gate):
            await _open_gate(deps, tx, task, gate)
        case CloseGate(gate, passed):
            await _close_gate(deps, tx, task, gate, passed=passed)
        case EndGates():
            for keeper in deps.keepers:
                await keeper.ended(tx, task)
        case ReleaseLock():
            await deps.workspaces.store.release_lock(tx, task.home, task.id)
        case MarkDiverged(text):
            await deps.workspaces.store.set_diverged(tx, task.home, text)
        case FenceLog() | WakeQueue() | SealLog():
            pass
        case _:
            assert_never(effect)


async def _open_gate(deps: TaskDeps, tx: Tx, task: Task, gate: Gate) -> None:
    stage, phase, now = Stage(gate.value), phase_at(task, gate), deps.clock.now()
    begin = StageBegin(stage, phase.value)
    await deps.log.event(tx, task.id, begin, marker_line(stage, "BEGIN", now))
    await deps.store.put_stage(tx, task.id, begun(None, phase, stage, now))
    for keeper in deps.keepers:
        await keeper.open(tx, task, gate)


async def _close_gate(
    deps: TaskDeps, tx: Tx, task: Task, gate: Gate, *, passed: bool
) -> None:
    stage, phase, now = Stage(gate.value), phase_at(task, gate), deps.clock.now()
    outcome = StageOutcome.COMPLETED if passed else StageOutcome.FAILED
    end = StageEnd(stage, phase.value, outcome)
    await deps.log.event(tx, task.id, end, marker_line(stage, "END", now))
    known = [
        record
        for record in await deps.store.stages(tx, task.id)
        if (record.phase, record.stage) == (phase, stage)
    ]
    record = ended(known[0] if known else None, phase, stage, outcome, now)
    await deps.store.put_stage(tx, task.id, record)


async def _end_lease(
    deps: TaskDeps,
    tx: Tx,
    change: Change,
    outcome: LeaseOutcome,
    log_end: int | None,
) -> None:
    lease, after = change.before.lease, change.after
    if lease is None:
        return
    now = deps.clock.now()
    record = await deps.store.get_lease(tx, lease.id)
    if record is not None:
        ended = replace(record, ended_at=now, outcome=outcome, log_end=log_end)
        await deps.store.save_lease(tx, ended)
    if after.terminal or outcome is LeaseOutcome.FINISHED:
        await _break_off_stages(deps, tx, after, now)
    else:
        await deps.store.clear_stages(tx, after.id, lease.phase)


def _actor(task: Task, event: Event) -> str:
    match event:
        case Confirmed() | Discarded() | CancelAsked() | ForceCancelAsked():
            return event.actor
        case Claimed():
            return event.lease.agent_id
        case Started() | PhaseEnded():
            return "server" if task.lease is None else task.lease.agent_id
        case _:
            return "server"


def _outcome(event: Event) -> LeaseOutcome:
    match event:
        case PhaseEnded():
            return LeaseOutcome.FINISHED
        case LeaseExpired() | GivenUp():
            return LeaseOutcome.LOST
        case _:
            return LeaseOutcome.REVOKED


async def _break_off_stages(deps: TaskDeps, tx: Tx, task: Task, now: datetime) -> None:
    stored = await deps.store.stages(tx, task.id)
    for stage in broken_off(stored, now):
        await deps.store.put_stage(tx, task.id, stage)
