"""Phases as agents live them: claim one, say that it began, report its stages and its end."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from sluice.auth.model import AgentPrincipal
from sluice.base.clock import from_micros
from sluice.base.errors import ConflictError, FencedError, NotFoundError, SluiceError
from sluice.base.ids import LeaseId, TaskId, new_lease_id
from sluice.base.transactions import Tx
from sluice.events.topics import task_topic
from sluice.logs.lines import event_of
from sluice.tasks import stages as stage_rules
from sluice.tasks.changes import Change, happen, locked, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import Claimed, OrderFailed, PhaseEnded
from sluice.tasks.leases import held, mark_started
from sluice.tasks.model import (
    Lease,
    LeaseOutcome,
    LeaseRecord,
    LogFigures,
    StageRecord,
    Task,
)
from sluice.tasks.order import make_order
from sluice.tasks.ports import Claimant
from sluice.tasks.queue import next_phase
from sluice.wire.agent import (
    LogPosition,
    PhaseName,
    PhaseOrder,
    PhaseOutcome,
    PhaseResult,
    Slots,
    StageReport,
)
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.events import Note, Stage, StageBegin, StageEnd, StageOutcome
from sluice.wire.shapes.tasks import StageStatus
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.model import Lock, Workspace

CLAIM_ATTEMPTS = 5
_logger = structlog.get_logger(__name__)


class _LockTakenError(Exception):
    """Somebody took the workspace's lock between the look and the claim."""


# --- claim -------------------------------------------------------------------


async def claim_phase(
    deps: TaskDeps, *, agent: AgentPrincipal, slots: Slots
) -> PhaseOrder | None:
    """Give an agent the next phase that fits, or None: nobody else gets the same one.

    The lease, the workspace's lock and the hand-over of the log are one transaction.
    """
    for _ in range(CLAIM_ATTEMPTS):
        try:
            async with deps.transactions.write() as tx:
                claimed = await _claim(deps, tx, agent, slots)
        except _LockTakenError:
            continue
        if claimed is None:
            return None
        change, workspace, position = claimed
        await tell(deps, change)
        return await _order(deps, change.after, workspace, position)
    return None


async def _claim(
    deps: TaskDeps, tx: Tx, agent: AgentPrincipal, slots: Slots
) -> tuple[Change, Workspace, LogPosition] | None:
    claimant = Claimant(agent.organization_id, agent.pool_id, slots)
    task = await deps.store.next_claimable(tx, claimant)
    phase = None if task is None else next_phase(task)
    if task is None or phase is None:
        return None
    workspace = await deps.workspaces.store.get(tx, task.workspace_id)
    if workspace is None:
        return None
    now = deps.clock.now()
    await _take_lock(deps, tx, task)
    position = await deps.log.hand_over(tx, task.id)
    lease = Lease(
        new_lease_id(),
        agent.agent_id,
        phase,
        now + timedelta(seconds=deps.lease_seconds),
    )
    record = LeaseRecord(
        id=lease.id,
        task_id=task.id,
        agent_id=agent.agent_id,
        phase=phase,
        epoch=position.epoch,
        log_offset=position.offset,
        log_line=position.next_line,
        claimed_at=now,
    )
    await deps.store.add_lease(tx, record)
    placed = replace(task, log=_with_start(task.log, phase, position))
    return await happen(deps, tx, placed, Claimed(lease)), workspace, position


async def _take_lock(deps: TaskDeps, tx: Tx, task: Task) -> None:
    if not task.needs_lock:
        return
    lock = Lock(
        id=task.id,
        holder=task.created_by,
        kind=LockHolderKind.TASK,
        reason=task.message,
        locked_at=deps.clock.now(),
    )
    holder = await deps.workspaces.store.take_lock(tx, task.workspace_id, lock)
    if holder is not None and holder.id != task.id:
        raise _LockTakenError


def _with_start(log: LogFigures, phase: PhaseName, position: LogPosition) -> LogFigures:
    """The plan's part of the log ends where the apply's begins."""
    if phase is not PhaseName.APPLY:
        return log
    return replace(
        log,
        apply_offset=position.offset,
        apply_line=position.next_line,
        plan_lines=position.next_line - 1,
    )


async def _order(
    deps: TaskDeps, task: Task, workspace: Workspace, position: LogPosition
) -> PhaseOrder | None:
    """The order; a task for which none can be made fails, with the reason in its log."""
    lease = task.lease
    if lease is None:
        return None
    try:
        return await make_order(deps, task, workspace, lease, position)
    except SluiceError as error:
        _logger.warning("no order can be made", task_id=task.id, detail=error.detail)
        failure = OrderFailed(f"The server could not make up the phase: {error.detail}")
    async with deps.transactions.write() as tx:
        present = await held(deps, tx, task.id, lease.id)
        change = await happen(deps, tx, present, failure)
        await deps.log.note(tx, task.id, failure.error, error=True)
    await tell(deps, change)
    return None


# --- while it runs -----------------------------------------------------------


async def phase_started(deps: TaskDeps, *, task_id: TaskId, lease_id: LeaseId) -> None:
    """The phase process has begun; saying it again changes nothing.

    Raises:
        FencedError: the lease is over.
    """
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, task_id, lease_id)
        await mark_started(deps, tx, task)


async def record_events(
    deps: TaskDeps, *, task_id: TaskId, chunks: Iterable[Chunk]
) -> None:
    """Take stages over from events of the agent that are durable now; again is fine.

    Events that come after the phase's end, or name another phase, change nothing: the
    report of the end said all there is to say about its stages.
    """
    events = [
        (event, chunk.captured_us)
        for chunk in chunks
        if chunk.kind is Kind.EVENT and chunk.source is Source.AGENT
        for event in (event_of(chunk),)
        if isinstance(event, StageBegin | StageEnd | Note)
    ]
    if not events:
        return
    async with deps.transactions.write() as tx:
        task = await locked(deps, tx, task_id)
        if task.lease is None:
            return
        phase = task.lease.phase
        newer = replace(task, lease=replace(task.lease, started=True))
        stored = {
            stage.stage: stage
            for stage in await deps.store.stages(tx, task_id)
            if stage.phase is phase
        }
        for event, captured_us in events:
            if not isinstance(event, Note) and event.phase != phase.value:
                continue
            newer = _task_after(newer, event)
            record = _stage_after(stored, phase, event, from_micros(captured_us))
            if record is not None:
                stored[record.stage] = record
                await deps.store.put_stage(tx, task_id, record)
        if newer != task:
            await deps.store.save(tx, newer)
    deps.hub.publish(task_topic(task_id))


def _task_after(task: Task, event: StageBegin | StageEnd | Note) -> Task:
    match event:
        case StageBegin():
            return replace(task, stage=event.stage)
        case Note(error=True) | StageEnd(outcome=StageOutcome.FAILED):
            return replace(task, log=replace(task.log, has_errors=True))
        case _:
            return task


def _stage_after(
    stored: dict[Stage, StageRecord],
    phase: PhaseName,
    event: StageBegin | StageEnd | Note,
    at: datetime,
) -> StageRecord | None:
    match event:
        case StageBegin():
            return stage_rules.begun(stored.get(event.stage), phase, event.stage, at)
        case StageEnd():
            known = stored.get(event.stage)
            return stage_rules.ended(known, phase, event.stage, event.outcome, at)
        case Note():
            return None


# --- the end -----------------------------------------------------------------


async def finish_phase(deps: TaskDeps, *, task_id: TaskId, result: PhaseResult) -> None:
    """An agent reports the end of its phase; a repeated report changes nothing.

    Raises:
        FencedError: the lease was superseded.
        ConflictError: the log is not wholly there yet; ``committed`` says how far it is.
    """
    lease_id = LeaseId(result.lease_id)
    async with deps.transactions.read() as tx:
        record = await deps.store.get_lease(tx, lease_id)
    if record is None or record.task_id != task_id:
        raise NotFoundError(f"There is no lease {lease_id} of {task_id}.")
    if record.outcome is LeaseOutcome.FINISHED:
        return
    if record.outcome is not None:
        raise FencedError(
            f"The lease {lease_id} of {task_id} was {record.outcome}; its result came"
            " too late and is not taken."
        )
    damage = await _damage(deps, record, result)
    if damage is None:
        return
    figures = await _figures(deps, record, result)
    async with deps.transactions.write() as tx:
        await locked(deps, tx, task_id)
        present = await deps.store.get_lease(tx, lease_id)
        if present is not None and present.outcome is LeaseOutcome.FINISHED:
            return
        task = await held(deps, tx, task_id, lease_id)
        for report in result.stages:
            stage = _reported(record.phase, report)
            await deps.store.put_stage(tx, task_id, stage)
            if report.outcome is StageOutcome.FAILED:
                # the log's own word for it may be on its way still
                task = replace(task, stage=report.stage)
        ended = PhaseEnded(
            outcome=result.outcome,
            error=result.error,
            has_changes=_has_changes(task, record.phase, result),
            state_diverged=result.state_diverged,
        )
        log = figures(task.log)
        log = replace(log, has_errors=log.has_errors or bool(damage))
        change = await happen(deps, tx, replace(task, log=log), ended)
        if damage:
            await deps.log.note(tx, task_id, damage, error=True)
    await tell(deps, change)


async def _damage(
    deps: TaskDeps, record: LeaseRecord, result: PhaseResult
) -> str | None:
    """What is wrong with the phase's log, empty where nothing is.

    None where the same report was taken in this very moment. A log of the right length
    with other bytes cannot be mended by sending it again: the result is taken (what was
    done to infrastructure is done), and the log says that it is damaged.
    """
    head = await deps.log.head(record.task_id)
    end = result.log_end
    if head.committed != end.offset:
        async with deps.transactions.read() as tx:
            present = await deps.store.get_lease(tx, record.id)
        if present is not None and present.outcome is LeaseOutcome.FINISHED:
            return None
        raise ConflictError(
            f"The log of {record.task_id} has {head.committed} bytes, the report says"
            f" {end.offset}; send the rest, then report again.",
            committed=head.committed,
            next_line=head.next_line,
        )
    if end.sha256 is None:
        return ""
    found = await deps.log.digest(record.task_id, record.log_offset, end.offset)
    if found == end.sha256:
        return ""
    _logger.error(
        "log damaged", task_id=record.task_id, expected=end.sha256, found=found
    )
    return (
        f"the log of the {record.phase} phase is damaged: its bytes are not those that"
        " the agent wrote"
    )


async def _figures(
    deps: TaskDeps, record: LeaseRecord, result: PhaseResult
) -> Callable[[LogFigures], LogFigures]:
    """How the figures of the task's log change by this phase."""
    end = result.log_end
    last = await deps.log.last_line(record.task_id, record.log_offset, end.offset)
    failed = result.outcome is PhaseOutcome.FAILED

    def changed(log: LogFigures) -> LogFigures:
        log = replace(log, has_errors=log.has_errors or failed)
        if record.phase is PhaseName.APPLY:
            lines = end.next_line - record.log_line
            return replace(log, apply_lines=lines, apply_last_line=last)
        return replace(log, plan_lines=end.next_line - 1, plan_last_line=last)

    return changed


def _reported(phase: PhaseName, report: StageReport) -> StageRecord:
    status = StageStatus.RUNNING
    if report.outcome is not None:
        status = StageStatus(report.outcome.value)
    return StageRecord(
        phase, report.stage, status, report.started_at, report.completed_at
    )


def _has_changes(task: Task, phase: PhaseName, result: PhaseResult) -> bool | None:
    """What the agent says, else what the stored plan JSON said; an apply says nothing."""
    if phase is PhaseName.APPLY:
        return None
    return task.has_changes if result.has_changes is None else result.has_changes
