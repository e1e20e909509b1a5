"""Leases of phases: renewed by pings and uploads, expired by the loop, asked for by tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from sluice.base.clock import Clock, rfc3339
from sluice.base.errors import FencedError, NotFoundError, SluiceError
from sluice.base.ids import AgentId, LeaseId, TaskId
from sluice.base.transactions import Transactions, Tx
from sluice.tasks.changes import Change, happen, locked, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import GivenUp, LeaseExpired, LeaseRenewed, Started
from sluice.tasks.model import LeaseOutcome, LeaseRecord, Task, TaskState
from sluice.tasks.ports import TaskStore
from sluice.tasks.reach import called
from sluice.wire.agent import Command, CommandType

_logger = structlog.get_logger(__name__)

RENEW_EVERY = timedelta(seconds=5)
"""A lease renewed less than this ago is left alone: uploads come many times a second."""

REPEAT_FOR = timedelta(minutes=15)
"""So long after its end a finished lease is still known, for a repeated `finish`."""


class CurrentLeases:
    """Knows whether a task token's lease still counts (`auth.ports.TaskLeases`)."""

    def __init__(
        self, transactions: Transactions, store: TaskStore, clock: Clock
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._clock = clock

    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        """Whether the lease may still speak for the task."""
        async with self._transactions.read() as tx:
            lease = await self._store.get_lease(tx, lease_id)
        if lease is None or lease.task_id != task_id:
            return False
        if lease.ended_at is None:
            return True
        return repeatable(lease, self._clock.now())


def repeatable(lease: LeaseRecord, now: datetime) -> bool:
    """Whether the end of this lease may still be reported again."""
    finished = lease.outcome is LeaseOutcome.FINISHED
    return finished and lease.ended_at is not None and now - lease.ended_at < REPEAT_FOR


async def renew_leases(
    deps: TaskDeps, *, agent_id: AgentId, lease_ids: Sequence[LeaseId]
) -> None:
    """The agent was heard of: its leases last for another while.

    Leases that are not its own, or over, are left as they are: their holder learns it
    from the answer to its next upload or report.
    """
    async with deps.transactions.read() as tx:
        tasks = await deps.store.leased_by(tx, agent_id)
    for task in tasks:
        if task.lease is not None and task.lease.id in lease_ids:
            await renew(deps, task)


async def renew_lease(deps: TaskDeps, *, task_id: TaskId, lease_id: LeaseId) -> None:
    """The phase was heard of by an upload: its lease lasts for another while."""
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
    if task is not None and task.lease is not None and task.lease.id == lease_id:
        await renew(deps, task)


async def renew(deps: TaskDeps, task: Task) -> None:
    """The holder of the task's lease was heard of."""
    lease = task.lease
    expires_at = deps.clock.now() + timedelta(seconds=deps.lease_seconds)
    if lease is None:
        return
    if not task.agent_lost and expires_at - lease.expires_at < RENEW_EVERY:
        return
    async with deps.transactions.write() as tx:
        present = await locked(deps, tx, task.id)
        if present.lease is None or present.lease.id != lease.id:
            return
        change = await happen(deps, tx, present, LeaseRenewed(expires_at))
    if change.before.agent_lost:
        await tell(deps, change)


async def expire_leases(deps: TaskDeps) -> None:
    """Deal with leases that ran out, and with lost scripts that nobody came back for.

    Each is looked at again in a transaction of its own: a ping may have come meanwhile.
    One that cannot be dealt with keeps none of the others waiting.
    """
    now = deps.clock.now()
    given_up = now - timedelta(seconds=deps.lost_script_seconds)
    async with deps.transactions.read() as tx:
        task_ids = [
            *await deps.store.expired(tx, now),
            *await deps.store.lost_scripts(tx, given_up),
        ]
    for task_id in task_ids:
        try:
            async with deps.transactions.write() as tx:
                task = await locked(deps, tx, task_id)
                change = await _expire(deps, tx, task)
        except SluiceError as error:
            _logger.warning("lease stays", task_id=task_id, detail=error.detail)
            continue
        if change is not None:
            _logger.warning("lease ran out", task_id=task_id, now=change.after.state)
            await tell(deps, change)


async def _expire(deps: TaskDeps, tx: Tx, task: Task) -> Change | None:
    lease = task.lease
    if lease is None or deps.clock.now() < lease.expires_at:
        return None
    names = await deps.agents.agent_names(tx, [lease.agent_id])
    holder = called(lease.agent_id, names, task.script)
    heard = rfc3339(lease.expires_at - timedelta(seconds=deps.lease_seconds))
    if task.agent_lost:
        waits_until = lease.expires_at + timedelta(seconds=deps.lost_script_seconds)
        if task.state is not TaskState.RUNNING or deps.clock.now() < waits_until:
            return None
        return await happen(deps, tx, task, GivenUp(holder, heard))
    history = await deps.store.leases(tx, task.id)
    lost = sum(record.outcome is LeaseOutcome.LOST for record in history)
    return await happen(deps, tx, task, LeaseExpired(holder, heard, losses=lost + 1))


# --- what the server asks of agents --------------------------------------------


async def commands_for(deps: TaskDeps, *, agent_id: AgentId) -> list[Command]:
    """What an agent is asked to do about the phases it holds, again until it is done."""
    async with deps.transactions.read() as tx:
        tasks = await deps.store.leased_by(tx, agent_id)
    return [
        Command(
            type=CommandType(task.cancel.value),
            task_id=task.id,
            reason=task.cancel_reason,
        )
        for task in tasks
        if task.cancel is not None
    ]


async def command_for_task(deps: TaskDeps, *, task_id: TaskId) -> str:
    """`cancel` or `force_cancel` where the task's agent is asked to stop, else empty."""
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
    if task is None or task.lease is None or task.cancel is None:
        return ""
    return task.cancel.value


# --- who holds a lease -----------------------------------------------------------


async def held(deps: TaskDeps, tx: Tx, task_id: TaskId, lease_id: LeaseId) -> Task:
    """The task, locked, if this lease is the present one.

    Raises:
        FencedError: the lease is over; another holder may have taken over.
    """
    task = await locked(deps, tx, task_id)
    if task.lease is None or task.lease.id != lease_id:
        raise FencedError(
            f"The lease {lease_id} of {task_id} is over; stop this phase, what it does"
            " from here on is not taken."
        )
    return task


async def get_lease(deps: TaskDeps, *, lease_id: LeaseId) -> LeaseRecord:
    """A lease, present or past.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        lease = await deps.store.get_lease(tx, lease_id)
    if lease is None:
        raise NotFoundError(f"There is no lease {lease_id}.")
    return lease


async def mark_started(deps: TaskDeps, tx: Tx, task: Task) -> Task:
    """From now on the phase counts as begun: a lost apply is not queued again."""
    if task.lease is None or task.lease.started:
        return task
    return (await happen(deps, tx, task, Started())).after
