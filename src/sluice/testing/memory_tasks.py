"""Tasks, their stages, leases and actions in dicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, LeaseId, PoolId, TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.tasks.gates import GATE_STAGES
from sluice.tasks.model import ActionRecord, LeaseRecord, StageRecord, Task, TaskState
from sluice.tasks.ports import TaskFilter
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.testing.memory_claims import KnowsWorkspaces, MemoryClaims
from sluice.wire.agent import PhaseName
from sluice.wire.events import Stage


class MemoryTaskStore(MemoryClaims):
    """The in-memory twin of `SqlTaskStore`; looks locks up in ``workspaces``."""

    def __init__(
        self, transactions: MemoryTransactions, workspaces: KnowsWorkspaces
    ) -> None:
        super().__init__(transactions, workspaces)
        self._stages = transactions.table(
            dict[tuple[TaskId, PhaseName, Stage], StageRecord]()
        )
        self._actions = transactions.table(dict[tuple[TaskId, int], ActionRecord]())

    async def insert(self, tx: Tx, task: Task) -> Task:
        """Add a task at the end of the queue."""
        writing(tx)
        if task.id in self._tasks:
            raise ConflictError(f"There is a task {task.id} already.")
        highest = max((row.sequence for row in self._tasks.values()), default=0)
        placed = replace(task, sequence=highest + 1)
        self._tasks[task.id] = placed
        return placed

    async def get(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task."""
        reading(tx)
        return self._tasks.get(task_id)

    async def lock(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task; transactions run one at a time, so it is locked."""
        writing(tx)
        return self._tasks.get(task_id)

    async def save(self, tx: Tx, task: Task) -> Task:
        """Store a changed task if nobody else did."""
        writing(tx)
        stored = self._tasks.get(task.id)
        if stored is None or stored.version != task.version:
            raise ConflictError(
                f"{task.id} was changed by somebody else in this moment; look again."
            )
        newer = replace(task, version=task.version + 1)
        self._tasks[task.id] = newer
        return newer

    async def page(
        self, tx: Tx, which: TaskFilter, page: Page
    ) -> tuple[list[Task], int]:
        """Tasks newest first, and how many there are in all."""
        reading(tx)
        rows = self._ordered(lambda task: _wanted(task, which))[::-1]
        return rows[page.offset : page.offset + page.limit], len(rows)

    async def waiting_for_lock(
        self, tx: Tx, workspace_ids: Sequence[WorkspaceId]
    ) -> list[Task]:
        """Tasks that hold or wait for these workspaces' locks, in queue order."""
        reading(tx)
        return self._ordered(
            lambda task: task.workspace_id in workspace_ids and task.blocks_others
        )

    async def leased_by(self, tx: Tx, agent_id: AgentId) -> list[Task]:
        """Tasks whose lease this agent holds."""
        reading(tx)
        return self._ordered(
            lambda task: task.lease is not None and task.lease.agent_id == agent_id
        )

    async def expired(self, tx: Tx, now: datetime) -> list[TaskId]:
        """Tasks whose lease ran out and is not yet known to be lost."""
        reading(tx)
        rows = self._ordered(
            lambda task: (
                task.lease is not None
                and task.lease.expires_at <= now
                and not task.agent_lost
            )
        )
        return [task.id for task in rows]

    async def lost_scripts(self, tx: Tx, expired_before: datetime) -> list[TaskId]:
        """Begun scripts whose agent is lost, with a lease that ran out before then."""
        reading(tx)
        rows = self._ordered(
            lambda task: (
                task.state is TaskState.RUNNING
                and task.agent_lost
                and task.lease is not None
                and task.lease.expires_at <= expired_before
            )
        )
        return [task.id for task in rows]

    async def unsealed(self, tx: Tx, ended_before: datetime) -> list[TaskId]:
        """Ended tasks whose log has no `end` yet."""
        reading(tx)
        rows = self._ordered(
            lambda task: (
                not task.log.sealed
                and task.terminal
                and task.completed_at is not None
                and task.completed_at <= ended_before
            )
        )
        return [task.id for task in rows]

    async def unfinished_in(self, tx: Tx, pool_id: PoolId) -> list[TaskId]:
        """Tasks that name this pool and have not ended, oldest first."""
        reading(tx)
        rows = self._ordered(lambda task: task.pool_id == pool_id and not task.terminal)
        return [task.id for task in rows]

    async def of_workspace(self, tx: Tx, workspace_id: WorkspaceId) -> list[Task]:
        """All tasks of a workspace, oldest first."""
        reading(tx)
        return self._ordered(lambda task: task.workspace_id == workspace_id)

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove a workspace's tasks with all that hangs on them."""
        writing(tx)
        gone = {task.id for task in await self.of_workspace(tx, workspace_id)}
        for task_id in gone:
            del self._tasks[task_id]
        for lease in [row for row in self._leases.values() if row.task_id in gone]:
            del self._leases[lease.id]
        for stage in [key for key in self._stages if key[0] in gone]:
            del self._stages[stage]
        for action in [key for key in self._actions if key[0] in gone]:
            del self._actions[action]

    async def get_lease(self, tx: Tx, lease_id: LeaseId) -> LeaseRecord | None:
        """A lease, present or past."""
        reading(tx)
        return self._leases.get(lease_id)

    async def save_lease(self, tx: Tx, lease: LeaseRecord) -> None:
        """Store a changed lease."""
        writing(tx)
        self._leases[lease.id] = lease

    async def leases(self, tx: Tx, task_id: TaskId) -> list[LeaseRecord]:
        """All leases of a task, oldest first."""
        reading(tx)
        rows = [row for row in self._leases.values() if row.task_id == task_id]
        return sorted(rows, key=lambda row: row.epoch)

    async def put_stage(self, tx: Tx, task_id: TaskId, stage: StageRecord) -> None:
        """Store a stage, new or changed."""
        writing(tx)
        self._stages[task_id, stage.phase, stage.stage] = stage

    async def clear_stages(self, tx: Tx, task_id: TaskId, phase: PhaseName) -> None:
        """Forget the stages of a phase that will be done again."""
        writing(tx)
        for key in [key for key in self._stages if key[:2] == (task_id, phase)]:
            if key[2] not in GATE_STAGES:
                del self._stages[key]

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageRecord]:
        """All stored stages of a task."""
        reading(tx)
        return [row for key, row in self._stages.items() if key[0] == task_id]

    async def add_action(self, tx: Tx, task_id: TaskId, action: ActionRecord) -> None:
        """Remember who did what."""
        writing(tx)
        number = max((key[1] for key in self._actions), default=0) + 1
        self._actions[task_id, number] = action

    async def actions(self, tx: Tx, task_id: TaskId) -> list[ActionRecord]:
        """What was done to a task, oldest first."""
        reading(tx)
        return [row for key, row in self._actions.items() if key[0] == task_id]


def _wanted(task: Task, which: TaskFilter) -> bool:
    pairs = (
        (which.organization_id, task.organization_id),
        (which.workspace_id, task.workspace_id),
        (which.status, task.status),
        (which.task_type, task.task_type),
        (which.script, task.script.key or None if task.script else None),
    )
    seen = which.visible is None or task.workspace_id in {None, *which.visible}
    seen = seen and (which.in_no_workspace or task.workspace_id is not None)
    return seen and all(wanted in (None, value) for wanted, value in pairs)
