"""Claims: agents take the next phases, and get the orders for them.

Work is given to many agents in one transaction. What keeps one of them from something
(a lock that somebody took meanwhile, a log that has ended) passes over that task alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from sluice.base.ids import AgentId, PoolId, TaskId, WorkspaceId, new_lease_id
from sluice.base.transactions import Tx
from sluice.tasks.changes import Change, tell, watch
from sluice.tasks.claim_orders import Claim, orders_for
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import Claimed
from sluice.tasks.lifecycle import step
from sluice.tasks.matching import Claimant, Holding, Wanted, takers, wanted
from sluice.tasks.matching import room as room_of
from sluice.tasks.model import Lease, LeaseRecord, LogFigures, Task
from sluice.tasks.queue import next_phase
from sluice.tasks.quota import RunningRoom
from sluice.wire.agent import LogPosition, PhaseName, PhaseOrder, Slots
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.model import Lock, Workspace

CLAIM_ATTEMPTS = 5
"""So often is something else looked for in place of what could not be had."""

CLAIMS_AT_ONCE = 64
"""So many agents at most are given work in one transaction, which others wait for."""

_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Group:
    """Claimants that look for the same: of one pool, with room for the same kinds."""

    wanted: Wanted
    claimants: list[Claimant]


@dataclass(frozen=True, slots=True)
class _Pick:
    """A task that its claimant is to have, with its workspace as it is now."""

    claimant: Claimant
    task: Task
    phase: PhaseName
    workspace: Workspace | None = None


async def find_takers(
    deps: TaskDeps, *, claimants: Sequence[Claimant]
) -> list[Claimant]:
    """Those of the claimants whom there is something for now, as far as a look shows.

    Only reads: looking in vain, which is what waiting agents do, keeps nobody from writing.
    """
    organization_ids = {claimant.organization_id for claimant in claimants}
    pool_ids = {claimant.pool_id for claimant in claimants}
    labels: dict[PoolId, Mapping[str, str]] = {}
    async with deps.transactions.read() as tx:
        if deps.quota.running:
            running = await deps.store.running(tx, organization_ids)
            full = RunningRoom(deps.quota.running, running).full(organization_ids)
            claimants = [one for one in claimants if one.organization_id not in full]
            organization_ids -= set(full)
        overview = await deps.store.overview(tx, organization_ids, pool_ids)
        if any(work.labels for work in overview.works):
            labels = await deps.agents.pool_labels(tx, pool_ids)
    return takers(claimants, overview, labels)[:CLAIMS_AT_ONCE]


async def claim_phases(
    deps: TaskDeps, *, claimants: Sequence[Claimant]
) -> dict[AgentId, PhaseOrder]:
    """Give agents the next phases that they may have; each asks once, nobody shares one.

    Agents for whom there is nothing are left out. The leases, the workspaces' locks and
    the hand-overs of the logs are one transaction.
    """
    async with deps.transactions.write() as tx:
        claims = await _claim(deps, tx, claimants)
        homes = {claim.workspace.id for claim in claims if claim.workspace}
        store = deps.workspaces.variables
        variables = await store.list_many(tx, homes) if homes else {}
    for claim in claims:
        await tell(deps, claim.change)
    return await orders_for(deps, claims, variables)


async def _claim(deps: TaskDeps, tx: Tx, claimants: Sequence[Claimant]) -> list[Claim]:
    room = await _running_room(deps, tx, claimants)
    groups = await _groups(deps, tx, claimants)
    claims: list[Claim] = []
    passed_over: set[TaskId] = set()
    for _ in range(CLAIM_ATTEMPTS):
        picks = await _picks(deps, tx, groups, passed_over, room)
        if not picks:
            break
        made = await _secure(deps, tx, await _free(deps, tx, picks))
        claims += made
        for claim in made:
            room.take(claim.change.after.organization_id)
        if len(made) == len(picks):
            break
        passed_over |= {pick.task.id for pick in picks}
        served = {claim.lease.agent_id for claim in made}
        for group in groups:
            group.claimants = [c for c in group.claimants if c.agent_id not in served]
    return claims


async def _running_room(
    deps: TaskDeps, tx: Tx, claimants: Sequence[Claimant]
) -> RunningRoom:
    """How many tasks more each organization may have run, where that is limited."""
    room = RunningRoom(deps.quota.running)
    if room.most:
        organization_ids = {claimant.organization_id for claimant in claimants}
        room.running = await deps.store.claiming(tx, organization_ids)
    return room


async def _groups(
    deps: TaskDeps, tx: Tx, claimants: Sequence[Claimant]
) -> list[_Group]:
    """Who has room for what; those with the least choice come first.

    From here on the agents are kept from claims elsewhere: what they hold now is what they
    hold until this transaction ends.
    """
    agent_ids = {claimant.agent_id for claimant in claimants}
    facts = await deps.agents.claim_facts(tx, agent_ids)
    holds = await deps.store.holdings(tx, agent_ids)
    groups: dict[tuple[PoolId, bool, bool], _Group] = {}
    for claimant in claimants:
        known = facts.get(claimant.agent_id)
        if known is None or known.pool_id != claimant.pool_id:
            continue
        left = room_of(known, holds.get(claimant.agent_id, Holding()), claimant.slots)
        if left != Slots():
            look = wanted(known, left)
            key = (look.pool_id, look.plan, look.apply)
            groups.setdefault(key, _Group(look, [])).claimants.append(claimant)
    return sorted(groups.values(), key=lambda group: group.wanted.choice)


async def _picks(
    deps: TaskDeps,
    tx: Tx,
    groups: Iterable[_Group],
    passed_over: set[TaskId],
    room: RunningRoom,
) -> list[_Pick]:
    """The next task for each; they are kept from others from here on."""
    picks: list[_Pick] = []
    for group in groups:
        organization_id = group.wanted.organization_id
        limit = len(group.claimants)
        left = room.left(organization_id)
        if left is not None:
            taken = (pick.task.organization_id == organization_id for pick in picks)
            limit = min(limit, left - sum(taken))
        if limit <= 0:
            continue
        found = await deps.store.claimable(
            tx,
            group.wanted,
            limit=limit,
            without=passed_over | {pick.task.id for pick in picks},
        )
        for claimant, task in zip(group.claimants, found, strict=False):
            phase = next_phase(task)
            if phase is not None:
                picks.append(_Pick(claimant, task, phase))
    return picks


async def _free(deps: TaskDeps, tx: Tx, picks: Sequence[_Pick]) -> list[_Pick]:
    """Those whose workspace is not locked by somebody else.

    A workspace that somebody changes at this very moment is not waited for.
    """
    store = deps.workspaces.store
    homes = {home for pick in picks if (home := pick.task.workspace_id) is not None}
    to_lock = {pick.task.home for pick in picks if pick.task.needs_lock}
    held = await store.hold_free(tx, to_lock) if to_lock else {}
    others = homes - held.keys()
    seen = held | (await store.get_many(tx, others) if others else {})
    free: list[_Pick] = []
    for pick in picks:
        task = pick.task
        if task.workspace_id is None:
            free.append(pick)
            continue
        workspace = (held if task.needs_lock else seen).get(task.workspace_id)
        if workspace is not None and _may_lock(workspace, task):
            free.append(replace(pick, workspace=workspace))
    return free


def _may_lock(workspace: Workspace, task: Task) -> bool:
    lock = workspace.lock
    return not task.needs_lock or lock is None or lock.id == task.id


async def _secure(deps: TaskDeps, tx: Tx, picks: Sequence[_Pick]) -> list[Claim]:
    """Leases for all whose log can be handed over, and their workspaces' locks."""
    if not picks:
        return []
    positions = await deps.log.hand_over_all(tx, [pick.task.id for pick in picks])
    claims: list[Claim] = []
    locks: dict[WorkspaceId, Lock] = {}
    for pick in picks:
        position = positions.get(pick.task.id)
        if position is None:
            _logger.error("a task waits whose log has ended", task_id=pick.task.id)
            continue
        claims.append(_claimed(deps, pick, position))
        if pick.task.needs_lock and pick.workspace and pick.workspace.lock is None:
            locks[pick.workspace.id] = _lock_of(deps, pick.task)
    await deps.workspaces.store.set_locks(tx, locks)
    await deps.store.add_leases(tx, [_record(deps, claim) for claim in claims])
    saved = await deps.store.save_all(tx, [claim.change.after for claim in claims])
    secured = [
        replace(claim, change=replace(claim.change, after=task))
        for claim, task in zip(claims, saved, strict=True)
    ]
    for claim in secured:
        await watch(deps, tx, claim.change, claim.lease.agent_id)
    return secured


def _claimed(deps: TaskDeps, pick: _Pick, position: LogPosition) -> Claim:
    now = deps.clock.now()
    expires_at = now + timedelta(seconds=deps.lease_seconds)
    lease = Lease(new_lease_id(), pick.claimant.agent_id, pick.phase, expires_at)
    placed = replace(pick.task, log=_with_start(pick.task.log, pick.phase, position))
    done = step(placed, Claimed(lease), now)
    return Claim(
        Change(pick.task, done.task, done.effects), lease, pick.workspace, position
    )


def _record(deps: TaskDeps, claim: Claim) -> LeaseRecord:
    return LeaseRecord(
        id=claim.lease.id,
        task_id=claim.change.after.id,
        agent_id=claim.lease.agent_id,
        phase=claim.lease.phase,
        epoch=claim.position.epoch,
        log_offset=claim.position.offset,
        log_line=claim.position.next_line,
        claimed_at=deps.clock.now(),
    )


def _lock_of(deps: TaskDeps, task: Task) -> Lock:
    return Lock(
        id=task.id,
        holder=task.created_by,
        kind=LockHolderKind.TASK,
        reason=task.message,
        locked_at=deps.clock.now(),
    )


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
