"""Scripts that run outside agents (`sluice exec`): begin, write records, end.

A run has a lease like an agent's phase, under an id that stands for it. Its log is written
by the run itself (by upload), or by the server from the records that are posted to it: then
the server's own epoch is one above the lease's, and whoever uploads with it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from sluice.auth.model import PoolPrincipal, Principal, TaskPrincipal, UserPrincipal
from sluice.base.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import (
    OrganizationId,
    PoolId,
    TaskId,
    new_exec_id,
    new_lease_id,
)
from sluice.base.transactions import Tx
from sluice.tasks import exec_rules, stages
from sluice.tasks.admitting import admit
from sluice.tasks.changes import Change, happen, locked, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import Claimed, LeaseRenewed, PhaseEnded
from sluice.tasks.leases import held, renew, repeatable
from sluice.tasks.model import (
    Lease,
    LeaseOutcome,
    LeaseRecord,
    StageRecord,
    Task,
    TaskState,
)
from sluice.tasks.order import task_token
from sluice.tasks.reach import called, is_exec
from sluice.wire.agent import Engine, LogPosition, PhaseName, PhaseOutcome
from sluice.wire.events import Stage, StageOutcome
from sluice.wire.exec import ExecEnd, ExecRequest, ExecResponse
from sluice.wire.script_mark import SaidLine
from sluice.wire.shapes.tasks import TaskType

_logger = structlog.get_logger(__name__)

ATTEMPTS = 3
"""Two runs may begin the same new task in one moment: the later one looks again."""


@dataclass(frozen=True, slots=True)
class Written:
    """Which lines of the log the records became."""

    first_line: int
    next_line: int


# --- begin -------------------------------------------------------------------


async def begin_exec(
    deps: TaskDeps,
    *,
    organization_id: OrganizationId,
    task_id: TaskId,
    wanted: ExecRequest,
    actor: str,
    pool_id: PoolId | None = None,
) -> ExecResponse:
    """Give a run the task: a new one, or a queued script; the same run gets the same again.

    ``pool_id`` is the pool for which the caller speaks, if any.

    Raises:
        ConflictError: the task has ended, another run holds it, or it is another's.
        RateLimitedError: there are as many unfinished tasks as there may be.
    """
    new = Task(
        id=task_id,
        workspace_id=None,
        organization_id=organization_id,
        task_type=TaskType.SCRIPT,
        created_by=actor,
        created_at=deps.clock.now(),
        engine=Engine.TERRAFORM,
        terraform_version="",
        working_directory="",
        pool_id=pool_id,
        script=exec_rules.facts_of(wanted),
    )
    for _ in range(ATTEMPTS):
        try:
            async with deps.transactions.write() as tx:
                begun = await _begin(deps, tx, new, wanted, pool_id)
        except _TakenError:
            continue
        await tell(deps, begun.change)
        _logger.info(
            "run outside agents",
            task_id=task_id,
            run_id=wanted.run_id,
            host=wanted.host,
            version=wanted.version,
        )
        return ExecResponse(
            task_id=task_id,
            agent_id=begun.lease.agent_id,
            lease_id=begun.lease.id,
            lease_seconds=deps.lease_seconds,
            task_token=task_token(deps, begun.change.after, begun.lease),
            log=begun.position,
        )
    raise ConflictError(f"Others begin {task_id} in this moment; try again.")


class _TakenError(Exception):
    """Somebody else made a task of this id in the same moment."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """The lease of a run, and where its part of the log begins."""

    change: Change
    lease: Lease
    position: LogPosition


async def _begin(
    deps: TaskDeps, tx: Tx, new: Task, wanted: ExecRequest, pool_id: PoolId | None
) -> _Begun:
    """The run's lease: that which it has already, or a new one."""
    task = await deps.store.lock(tx, new.id)
    if task is None:
        await admit(deps, tx, organization_id=new.organization_id)
        await deps.log.open(tx, new.id)
        try:
            task = await deps.store.insert(tx, new)
        except ConflictError:
            raise _TakenError from None
    exec_rules.check_owner(task, new.organization_id)
    exec_rules.check_pool(task, pool_id)
    if exec_rules.same_run(task, wanted) and task.state is not TaskState.QUEUED:
        known = await _again(deps, tx, task, wanted)
        if known is not None:
            return known
    holder = ""
    if task.lease is not None:
        names = await deps.agents.agent_names(tx, [task.lease.agent_id])
        holder = called(task.lease.agent_id, names, task.script)
    exec_rules.check_free(task, holder)
    # from here on it is that pool's, also where any pool might have run it
    own = replace(task, pool_id=task.pool_id or pool_id)
    return await _claim(deps, tx, own, wanted)


async def _again(
    deps: TaskDeps, tx: Tx, task: Task, wanted: ExecRequest
) -> _Begun | None:
    """The lease that the run has, renewed; one that it ended a moment ago, as it was."""
    leases = await deps.store.leases(tx, task.id)
    if not leases or not is_exec(leases[-1].agent_id):
        return None
    record = leases[-1]
    position = _position(record)
    if task.lease is not None:
        expires_at = deps.clock.now() + timedelta(seconds=deps.lease_seconds)
        script = exec_rules.renewed(task.script, wanted) if task.script else None
        known = replace(task, script=script)
        if known != task:
            known = await deps.store.save(tx, known)
        change = await happen(deps, tx, known, LeaseRenewed(expires_at))
        return _Begun(change, task.lease, position)
    if not repeatable(record, deps.clock.now()):
        return None
    over = Lease(record.id, record.agent_id, record.phase, record.claimed_at)
    return _Begun(Change(task, task), over, position)


async def _claim(deps: TaskDeps, tx: Tx, task: Task, wanted: ExecRequest) -> _Begun:
    now = deps.clock.now()
    position = await deps.log.hand_over(tx, task.id)
    lease = Lease(
        new_lease_id(),
        new_exec_id(),
        PhaseName.SCRIPT,
        now + timedelta(seconds=deps.lease_seconds),
        started=True,
    )
    record = LeaseRecord(
        id=lease.id,
        task_id=task.id,
        agent_id=lease.agent_id,
        phase=lease.phase,
        epoch=position.epoch,
        log_offset=position.offset,
        log_line=position.next_line,
        claimed_at=now,
    )
    await deps.store.add_leases(tx, [record])
    script = exec_rules.renewed(task.script or exec_rules.facts_of(wanted), wanted)
    taken = replace(task, script=script)
    if script.records:
        # the log is the server's: nobody uploads under the lease's epoch
        await deps.log.hand_over(tx, task.id)
        stage = stages.begun(None, PhaseName.SCRIPT, Stage.RUNNING, now)
        await deps.store.put_stage(tx, task.id, stage)
    change = await happen(deps, tx, taken, Claimed(lease))
    if script.records:
        shown = await deps.store.save(tx, replace(change.after, stage=Stage.RUNNING))
        change = replace(change, after=shown)
    return _Begun(change, lease, position)


def _position(record: LeaseRecord) -> LogPosition:
    return LogPosition(
        epoch=record.epoch, offset=record.log_offset, next_line=record.log_line
    )


async def exec_organization(
    deps: TaskDeps,
    *,
    task_id: TaskId,
    wanted: str | None,
    visible: frozenset[OrganizationId] | None = None,
) -> OrganizationId:
    """For which organization a user begins a run: the one named, the task's, or the only one.

    The only one that is ``visible`` to the user; None for all.

    Raises:
        NotFoundError: there is no such organization.
        InvalidInputError: there are several and none is named.
    """
    organizations = deps.workspaces.organizations
    async with deps.transactions.read() as tx:
        if wanted:
            found = await organizations.get_organization(tx, OrganizationId(wanted))
            found = found or await organizations.find_organization(tx, wanted)
            if found is None:
                raise NotFoundError(f"There is no organization {wanted!r}.")
            return found.id
        task = await deps.store.get(tx, task_id)
        if task is not None:
            return task.organization_id
        known = [
            organization
            for organization in await organizations.list_organizations(tx)
            if visible is None or organization.id in visible
        ]
    if not known:
        raise NotFoundError("There is no organization yet; make one first.")
    if len(known) > 1:
        names = ", ".join(organization.name for organization in known)
        raise InvalidInputError(
            f"organization: there are several ({names}); say which."
        )
    return known[0].id


async def lies_in(
    deps: TaskDeps, *, task_id: TaskId, organization_id: OrganizationId
) -> bool:
    """Whether the task is there, and this organization's."""
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
    return task is not None and task.organization_id == organization_id


# --- records -----------------------------------------------------------------


async def post_records(
    deps: TaskDeps, *, task_id: TaskId, records: Sequence[SaidLine], caller: Principal
) -> Written:
    """Append records to the log of a run that has the server write it; durable.

    Raises:
        ConflictError: the run uploads its log itself, or the task does not run.
        ForbiddenError: the task is not the caller's.
    """
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
        if task is None or not _may_see(caller, task):
            raise NotFoundError(f"There is no task {task_id}.")
        lease = _written_by_server(task)
        if isinstance(caller, TaskPrincipal) and caller.lease_id != lease.id:
            raise ForbiddenError(f"{caller.actor} may not write the log of {task_id}.")
        record = await deps.store.get_lease(tx, lease.id)
    if record is None:
        raise NotFoundError(f"There is no lease {lease.id}.")
    start = exec_rules.mark_of(task)
    said = [exec_rules.filled(one, start) for one in records]
    first, following = await deps.log.write(task_id, record.epoch + 1, said, start)
    await renew(deps, task)
    if not task.log.has_errors and any(said.level == "ERROR" for said in records):
        await _mark_errors(deps, task_id)
    return Written(first, following)


def _may_see(caller: Principal, task: Task) -> bool:
    match caller:
        case UserPrincipal():
            return True
        case PoolPrincipal():
            return task.organization_id == caller.organization_id and task.pool_id in (
                None,
                caller.pool_id,
            )
        case TaskPrincipal():
            return task.id == caller.task_id
        case _:
            return False


def _written_by_server(task: Task) -> Lease:
    """The lease of a run whose log the server writes from records.

    Raises:
        ConflictError: it is none.
    """
    if task.terminal:
        raise ConflictError(
            f"{task.id} has ended (it is `{task.status}`); its log is closed.",
            task_status=task.status.value,
        )
    if task.lease is None or task.script is None or not is_exec(task.lease.agent_id):
        raise ConflictError(
            f"{task.id} does not run by `sluice exec`, so nobody posts records to it;"
            f" begin a run with POST /api/v1/tasks/{task.id}/exec."
        )
    if not task.script.records:
        raise ConflictError(
            f"The run {task.script.run_id} of {task.id} uploads its log itself; records"
            " are posted only to runs that began with the writer `records`."
        )
    return task.lease


async def _mark_errors(deps: TaskDeps, task_id: TaskId) -> None:
    async with deps.transactions.write() as tx:
        task = await locked(deps, tx, task_id)
        if not task.log.has_errors:
            log = replace(task.log, has_errors=True)
            await deps.store.save(tx, replace(task, log=log))


# --- end ---------------------------------------------------------------------


async def end_exec(
    deps: TaskDeps, *, task_id: TaskId, ended: ExecEnd, caller: TaskPrincipal
) -> None:
    """A run whose log the server writes has ended; saying it again changes nothing.

    Raises:
        FencedError: the lease was superseded.
        ConflictError: the run uploads its log, and ends with the report of an agent.
    """
    if (caller.task_id, caller.lease_id) != (task_id, ended.lease_id):
        raise ForbiddenError(f"{caller.actor} does not hold {ended.lease_id}.")
    async with deps.transactions.read() as tx:
        record = await deps.store.get_lease(tx, caller.lease_id)
    if record is None or record.task_id != task_id:
        raise NotFoundError(f"There is no lease {caller.lease_id} of {task_id}.")
    if record.outcome is LeaseOutcome.FINISHED:
        return
    if record.outcome is not None:
        raise FencedError(
            f"The lease {record.id} of {task_id} was {record.outcome}; its end came too"
            " late and is not taken."
        )
    head = await deps.log.head(task_id)
    last = await deps.log.last_line(task_id, record.log_offset, head.committed)
    async with deps.transactions.write() as tx:
        await locked(deps, tx, task_id)
        present = await deps.store.get_lease(tx, caller.lease_id)
        if present is not None and present.outcome is LeaseOutcome.FINISHED:
            return
        task = await held(deps, tx, task_id, caller.lease_id)
        _written_by_server(task)
        figures = replace(
            task.log,
            script_lines=head.next_line - 1,
            script_last_line=last,
            has_errors=task.log.has_errors or ended.exit_code != 0,
        )
        await deps.store.put_stage(tx, task_id, await _stage_end(deps, tx, task, ended))
        event = PhaseEnded(
            _outcome(task, ended), error=ended.error, exit_code=ended.exit_code
        )
        change = await happen(deps, tx, replace(task, log=figures), event)
    await tell(deps, change)


def _outcome(task: Task, ended: ExecEnd) -> PhaseOutcome:
    if ended.exit_code == 0:
        return PhaseOutcome.SUCCEEDED
    return PhaseOutcome.CANCELED if task.cancel else PhaseOutcome.FAILED


async def _stage_end(deps: TaskDeps, tx: Tx, task: Task, ended: ExecEnd) -> StageRecord:
    outcome = StageOutcome.FAILED if ended.exit_code else StageOutcome.COMPLETED
    stored = [
        stage
        for stage in await deps.store.stages(tx, task.id)
        if stage.stage is Stage.RUNNING
    ]
    begun = stored[0] if stored else None
    now = deps.clock.now()
    return stages.ended(begun, PhaseName.SCRIPT, Stage.RUNNING, outcome, now)
