"""Claims over tasks in dicts."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol

from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    WorkspaceId,
)
from sluice.base.transactions import Tx
from sluice.tasks.matching import Holding, Overview, Wanted, Work, serves
from sluice.tasks.model import LeaseRecord, Task, TaskState
from sluice.tasks.queue import claimable, has_turn, next_phase
from sluice.tasks.quota import Unfinished
from sluice.tasks.rows import labels_of, labels_text
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.agent import PhaseName, Slots
from sluice.workspaces.model import Lock, Workspace

_ANY = Slots(plan=1, apply=1)


class KnowsWorkspaces(Protocol):
    """Where locks are looked up."""

    async def get(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace with this id."""
        ...


class MemoryClaims:
    """The in-memory twin of `SqlClaims`; looks locks up in ``workspaces``."""

    def __init__(
        self, transactions: MemoryTransactions, workspaces: KnowsWorkspaces
    ) -> None:
        self._workspaces = workspaces
        self._tasks = transactions.table(dict[TaskId, Task]())
        self._leases = transactions.table(dict[LeaseId, LeaseRecord]())

    async def save_all(self, tx: Tx, changed: Sequence[Task]) -> list[Task]:
        """Store changed tasks; transactions run one at a time, so they are kept."""
        writing(tx)
        newer = [replace(task, version=task.version + 1) for task in changed]
        self._tasks.update({task.id: task for task in newer})
        return newer

    async def unfinished(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId | None,
    ) -> Unfinished:
        """How many tasks have not ended; transactions run one at a time."""
        writing(tx)
        ours = [
            task
            for task in self._tasks.values()
            if task.organization_id == organization_id and not task.terminal
        ]
        at_home = workspace_id is not None
        return Unfinished(
            len(ours),
            sum(at_home and task.workspace_id == workspace_id for task in ours),
        )

    async def running(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """How many tasks have a lease; those without are left out."""
        reading(tx)
        return dict(
            Counter(
                task.organization_id
                for task in self._tasks.values()
                if task.lease is not None and task.organization_id in organization_ids
            )
        )

    async def claiming(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """As `running`; transactions run one at a time."""
        writing(tx)
        return await self.running(tx, organization_ids)

    async def overview(
        self,
        tx: Tx,
        organization_ids: Collection[OrganizationId],
        pool_ids: Collection[PoolId],
    ) -> Overview:
        """What could be claimed now by one of these pools, labels aside; oldest first."""
        reading(tx)
        found = await self._open(
            tx,
            lambda task: (
                task.organization_id in organization_ids
                and task.pool_id in {None, *pool_ids}
            ),
            _ANY,
        )
        counted = Counter(
            (
                task.organization_id,
                task.pool_id,
                labels_text(task.labels),
                next_phase(task) is PhaseName.APPLY,
            )
            for task in found
        )
        return Overview(
            [
                Work(organization, pool, labels_of(labels), apply, count)
                for (organization, pool, labels, apply), count in counted.items()
            ]
        )

    async def claimable(
        self, tx: Tx, wanted: Wanted, *, limit: int, without: Collection[TaskId] = ()
    ) -> list[Task]:
        """The first tasks in the queue whose phase may be taken."""
        writing(tx)
        found = await self._open(
            tx,
            lambda task: (
                task.organization_id == wanted.organization_id
                and task.id not in without
                and serves(wanted.pool_id, wanted.labels, task)
            ),
            Slots(plan=int(wanted.plan), apply=int(wanted.apply)),
        )
        return found[:limit]

    async def before_gate(self, tx: Tx, *, limit: int) -> list[TaskId]:
        """Queued tasks whose turn it is and that have a gate before their first phase."""
        reading(tx)
        found = []
        for task in self._ordered(
            lambda task: task.state is TaskState.QUEUED and task.gate is not None
        ):
            contenders, lock = await self._at_home(tx, task.workspace_id)
            if has_turn(task, contenders, lock):
                found.append(task.id)
        return found[:limit]

    async def holdings(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, Holding]:
        """What agents hold leases of; those without are left out."""
        reading(tx)
        held: dict[AgentId, Holding] = {}
        for task in self._tasks.values():
            lease = task.lease
            if lease is not None and lease.agent_id in agent_ids:
                before = held.get(lease.agent_id, Holding())
                held[lease.agent_id] = before.plus(lease.phase, 1)
        return held

    async def add_leases(self, tx: Tx, leases: Sequence[LeaseRecord]) -> None:
        """Remember new leases."""
        writing(tx)
        self._leases.update({lease.id: lease for lease in leases})

    async def _open(
        self, tx: Tx, which: Callable[[Task], bool], slots: Slots
    ) -> list[Task]:
        found = []
        for task in self._ordered(which):
            contenders, lock = await self._at_home(tx, task.workspace_id)
            if claimable(task, contenders, lock, slots):
                found.append(task)
        return found

    async def _at_home(
        self, tx: Tx, workspace_id: WorkspaceId | None
    ) -> tuple[list[Task], Lock | None]:
        """Who else wants the workspace's lock, and who holds it."""
        if workspace_id is None:
            return [], None
        workspace = await self._workspaces.get(tx, workspace_id)
        contenders = self._ordered(
            lambda task: task.workspace_id == workspace_id and task.blocks_others
        )
        return contenders, workspace.lock if workspace else None

    def _ordered(self, wanted: Callable[[Task], bool]) -> list[Task]:
        rows = (task for task in self._tasks.values() if wanted(task))
        return sorted(rows, key=lambda task: task.sequence)
