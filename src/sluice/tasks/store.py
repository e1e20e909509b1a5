"""Tasks in SQL, but for their claims (`claim_store.py`)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite

from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, LeaseId, PoolId, TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.tasks.claim_store import SqlClaims
from sluice.tasks.model import (
    TERMINAL_STATES,
    ActionRecord,
    Gate,
    LeaseRecord,
    StageRecord,
    Task,
    TaskState,
)
from sluice.tasks.ports import TaskFilter
from sluice.tasks.quota_store import SqlQuotas
from sluice.tasks.rows import lease_record, lease_values, task_of, task_values
from sluice.tasks.tables import task_actions, task_leases, task_stages, tasks
from sluice.wire.agent import PhaseName
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import StageStatus, TaskType

_QUEUE_LOCK = 0x51_0001
"""PostgreSQL's advisory lock under which tasks get their place in the queue."""

_TERMINAL = [state.value for state in TERMINAL_STATES]


class SqlTaskStore(SqlClaims, SqlQuotas):
    """Tasks, stages, leases and actions on SQLite and PostgreSQL."""

    async def insert(self, tx: Tx, task: Task) -> Task:
        """Add a task at the end of the queue."""
        connection = connection_of(tx)
        if connection.dialect.name == "postgresql":
            # Committed in the order of their numbers: an earlier task is never seen later.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": _QUEUE_LOCK}
            )
        highest = await connection.scalar(select(func.max(tasks.c.sequence)))
        placed = replace(task, sequence=(highest or 0) + 1)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        done = await connection.execute(
            dialect.insert(tasks)
            .values(**task_values(placed))
            .on_conflict_do_nothing(index_elements=["id"])
        )
        if done.rowcount == 0:
            raise ConflictError(f"There is a task {task.id} already.")
        return placed

    async def get(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task."""
        return await self._one(tx, task_id, lock=False)

    async def lock(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task, kept from others' writes until the transaction ends."""
        return await self._one(tx, task_id, lock=True)

    async def _one(self, tx: Tx, task_id: TaskId, *, lock: bool) -> Task | None:
        query = select(tasks).where(tasks.c.id == task_id)
        if lock:
            query = query.with_for_update()
        row = (await connection_of(tx).execute(query)).mappings().one_or_none()
        return None if row is None else task_of(row)

    async def save(self, tx: Tx, task: Task) -> Task:
        """Store a changed task if nobody else did."""
        newer = replace(task, version=task.version + 1)
        done = await connection_of(tx).execute(
            tasks.update()
            .where(tasks.c.id == task.id, tasks.c.version == task.version)
            .values(**task_values(newer))
        )
        if done.rowcount == 0:
            raise ConflictError(
                f"{task.id} was changed by somebody else in this moment; look again."
            )
        return newer

    async def page(
        self, tx: Tx, which: TaskFilter, page: Page
    ) -> tuple[list[Task], int]:
        """Tasks newest first, and how many there are in all."""
        connection = connection_of(tx)
        wanted = _wanted(which)
        total = await connection.scalar(
            select(func.count()).select_from(tasks).where(*wanted)
        )
        rows = await connection.execute(
            select(tasks)
            .where(*wanted)
            .order_by(tasks.c.sequence.desc())
            .limit(page.limit)
            .offset(page.offset)
        )
        return [task_of(row) for row in rows.mappings()], total or 0

    async def waiting_for_lock(
        self, tx: Tx, workspace_ids: Sequence[WorkspaceId]
    ) -> list[Task]:
        """Tasks that hold or wait for these workspaces' locks, in queue order."""
        return await self._many(
            tx,
            tasks.c.workspace_id.in_(workspace_ids),
            tasks.c.task_type != TaskType.PLAN.value,
            tasks.c.state.not_in(_TERMINAL),
            tasks.c.gate.is_distinct_from(Gate.POST_APPLY.value),
        )

    async def leased_by(self, tx: Tx, agent_id: AgentId) -> list[Task]:
        """Tasks whose lease this agent holds."""
        return await self._many(tx, tasks.c.lease_agent_id == agent_id)

    async def expired(self, tx: Tx, now: datetime) -> list[TaskId]:
        """Tasks whose lease ran out and is not yet known to be lost."""
        found = await connection_of(tx).scalars(
            select(tasks.c.id)
            .where(tasks.c.lease_expires_at <= now, tasks.c.agent_lost.is_(False))
            .order_by(tasks.c.sequence)
        )
        return [TaskId(task_id) for task_id in found]

    async def lost_scripts(self, tx: Tx, expired_before: datetime) -> list[TaskId]:
        """Begun scripts whose agent is lost, with a lease that ran out before then."""
        found = await connection_of(tx).scalars(
            select(tasks.c.id)
            .where(
                tasks.c.lease_expires_at <= expired_before,
                tasks.c.agent_lost.is_(True),
                tasks.c.state == TaskState.RUNNING.value,
            )
            .order_by(tasks.c.sequence)
        )
        return [TaskId(task_id) for task_id in found]

    async def unsealed(self, tx: Tx, ended_before: datetime) -> list[TaskId]:
        """Ended tasks whose log has no `end` yet."""
        found = await connection_of(tx).scalars(
            select(tasks.c.id)
            .where(
                tasks.c.log_sealed.is_(False),
                tasks.c.state.in_(_TERMINAL),
                tasks.c.completed_at <= ended_before,
            )
            .order_by(tasks.c.sequence)
        )
        return [TaskId(task_id) for task_id in found]

    async def _many(self, tx: Tx, *wanted: ColumnElement[bool]) -> list[Task]:
        rows = await connection_of(tx).execute(
            select(tasks).where(*wanted).order_by(tasks.c.sequence)
        )
        return [task_of(row) for row in rows.mappings()]

    async def unfinished_in(self, tx: Tx, pool_id: PoolId) -> list[TaskId]:
        """Tasks that name this pool and have not ended, oldest first."""
        found = await self._many(
            tx, tasks.c.pool_id == pool_id, tasks.c.state.not_in(_TERMINAL)
        )
        return [task.id for task in found]

    async def of_workspace(self, tx: Tx, workspace_id: WorkspaceId) -> list[Task]:
        """All tasks of a workspace, oldest first."""
        return await self._many(tx, tasks.c.workspace_id == workspace_id)

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove a workspace's tasks with all that hangs on them."""
        connection = connection_of(tx)
        of_workspace = select(tasks.c.id).where(tasks.c.workspace_id == workspace_id)
        for table in (task_stages, task_leases, task_actions):
            await connection.execute(
                table.delete().where(table.c.task_id.in_(of_workspace))
            )
        await connection.execute(
            tasks.delete().where(tasks.c.workspace_id == workspace_id)
        )

    async def get_lease(self, tx: Tx, lease_id: LeaseId) -> LeaseRecord | None:
        """A lease, present or past."""
        rows = await connection_of(tx).execute(
            select(task_leases).where(task_leases.c.id == lease_id)
        )
        row = rows.mappings().one_or_none()
        return None if row is None else lease_record(row)

    async def save_lease(self, tx: Tx, lease: LeaseRecord) -> None:
        """Store a changed lease."""
        await connection_of(tx).execute(
            task_leases.update()
            .where(task_leases.c.id == lease.id)
            .values(**lease_values(lease))
        )

    async def leases(self, tx: Tx, task_id: TaskId) -> list[LeaseRecord]:
        """All leases of a task, oldest first."""
        rows = await connection_of(tx).execute(
            select(task_leases)
            .where(task_leases.c.task_id == task_id)
            .order_by(task_leases.c.epoch)
        )
        return [lease_record(row) for row in rows.mappings()]

    async def put_stage(self, tx: Tx, task_id: TaskId, stage: StageRecord) -> None:
        """Store a stage, new or changed."""
        connection = connection_of(tx)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        changes = {
            "status": stage.status.value,
            "started_at": stage.started_at,
            "completed_at": stage.completed_at,
        }
        await connection.execute(
            dialect.insert(task_stages)
            .values(
                task_id=task_id,
                phase=stage.phase.value,
                stage=stage.stage.value,
                **changes,
            )
            .on_conflict_do_update(
                index_elements=["task_id", "phase", "stage"], set_=changes
            )
        )

    async def clear_stages(self, tx: Tx, task_id: TaskId, phase: PhaseName) -> None:
        """Forget the stages of a phase that will be done again."""
        await connection_of(tx).execute(
            task_stages.delete().where(
                task_stages.c.task_id == task_id,
                task_stages.c.phase == phase.value,
                task_stages.c.stage.not_in([gate.value for gate in Gate]),
            )
        )

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageRecord]:
        """All stored stages of a task."""
        rows = await connection_of(tx).execute(
            select(task_stages)
            .where(task_stages.c.task_id == task_id)
            .order_by(task_stages.c.started_at)
        )
        return [
            StageRecord(
                PhaseName(row["phase"]),
                Stage(row["stage"]),
                StageStatus(row["status"]),
                row["started_at"],
                row["completed_at"],
            )
            for row in rows.mappings()
        ]

    async def add_action(self, tx: Tx, task_id: TaskId, action: ActionRecord) -> None:
        """Remember who did what."""
        await connection_of(tx).execute(
            task_actions.insert().values(
                task_id=task_id,
                action=action.action,
                actor=action.actor,
                reason=action.reason,
                at=action.at,
            )
        )

    async def actions(self, tx: Tx, task_id: TaskId) -> list[ActionRecord]:
        """What was done to a task, oldest first."""
        rows = await connection_of(tx).execute(
            select(task_actions)
            .where(task_actions.c.task_id == task_id)
            .order_by(task_actions.c.id)
        )
        return [
            ActionRecord(row["action"], row["actor"], row["reason"], row["at"])
            for row in rows.mappings()
        ]


def _wanted(which: TaskFilter) -> list[ColumnElement[bool]]:
    pairs = (
        (tasks.c.organization_id, which.organization_id),
        (tasks.c.workspace_id, which.workspace_id),
        (tasks.c.status, which.status),
        (tasks.c.task_type, which.task_type),
        (tasks.c.script_key, which.script),
    )
    wanted = [column == value for column, value in pairs if value is not None]
    inside = tasks.c.workspace_id
    if which.visible is not None:
        wanted.append(or_(inside.is_(None), among(inside, which.visible)))
    if not which.in_no_workspace:
        wanted.append(inside.is_not(None))
    return wanted
