"""Phases as agents live them: say that one began, report its stages and its end."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

import structlog

from sluice.base.clock import from_micros
from sluice.base.errors import (
    ConflictError,
    FencedError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import LeaseId, TaskId
from sluice.events.topics import task_topic
from sluice.logs.lines import event_of
from sluice.tasks import stages as stage_rules
from sluice.tasks.changes import happen, locked, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import PhaseEnded
from sluice.tasks.leases import held, mark_started
from sluice.tasks.model import (
    LeaseOutcome,
    LeaseRecord,
    LogFigures,
    StageRecord,
    Task,
)
from sluice.terraform.versions import parse_version
from sluice.wire.agent import (
    PhaseName,
    PhaseOutcome,
    PhaseResult,
    StageReport,
)
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.events import Note, Stage, StageBegin, StageEnd, StageOutcome
from sluice.wire.shapes.tasks import StageStatus

_logger = structlog.get_logger(__name__)


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
            state_kept=result.state_kept,
            exit_code=storable_code(result.exit_code),
            engine_version=_version(result),
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
        match record.phase:
            case PhaseName.APPLY:
                lines = end.next_line - record.log_line
                return replace(log, apply_lines=lines, apply_last_line=last)
            case PhaseName.PLAN:
                return replace(log, plan_lines=end.next_line - 1, plan_last_line=last)
            case PhaseName.SCRIPT:
                lines = end.next_line - 1
                return replace(log, script_lines=lines, script_last_line=last)
            case _:
                assert_never(record.phase)

    return changed


def _reported(phase: PhaseName, report: StageReport) -> StageRecord:
    status = StageStatus.RUNNING
    if report.outcome is not None:
        status = StageStatus(report.outcome.value)
    return StageRecord(
        phase, report.stage, status, report.started_at, report.completed_at
    )


def _has_changes(task: Task, phase: PhaseName, result: PhaseResult) -> bool | None:
    """What the agent says, else what the stored plan JSON said; only plans say it."""
    if phase is not PhaseName.PLAN:
        return None
    return task.has_changes if result.has_changes is None else result.has_changes


def storable_code(code: int | None) -> int | None:
    """An exit code that every database can hold; no system has others."""
    return code if code is None or -(2**31) <= code < 2**31 else None


def _version(result: PhaseResult) -> str:
    """The engine's version where it is one: it is named in the order for the apply."""
    try:
        return str(parse_version(result.engine_version))
    except InvalidInputError:
        return ""
