"""Claims in SQL: what could be claimed, what is claimed, and by whom."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from sluice.base.ids import AgentId, OrganizationId, PoolId, TaskId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.tasks.matching import Holding, Overview, Wanted, Work, has_labels
from sluice.tasks.model import TERMINAL_STATES, Gate, LeaseRecord, Task, TaskState
from sluice.tasks.queue import WAITING
from sluice.tasks.rows import labels_of, labels_text, lease_values, task_of, task_values
from sluice.tasks.tables import task_leases, tasks
from sluice.wire.agent import PhaseName
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.tables import workspaces

LOOK_AT = 128
"""So many claimable tasks are looked at for an overview: a long queue costs no more."""

NO_LABELS = labels_text({})
_LOCKLESS = [TaskType.PLAN.value, TaskType.SCRIPT.value]
_TERMINAL = [state.value for state in TERMINAL_STATES]
_OPEN = tasks.c.completed_at.is_(None)
_WAITING = and_(
    _OPEN,
    tasks.c.gate.is_(None),
    tasks.c.state.in_([state.value for state in sorted(WAITING)]),
    or_(tasks.c.task_type != TaskType.SCRIPT.value, tasks.c.sealed_script.is_not(None)),
)
_IS_APPLY = or_(
    tasks.c.state == "apply_ready", tasks.c.task_type == TaskType.APPLY.value
)


class SqlClaims:
    """The part of `SqlTaskStore` that claims need."""

    async def save_all(self, tx: Tx, changed: Sequence[Task]) -> list[Task]:
        """Store changed tasks that this transaction keeps from others' writes."""
        if not changed:
            return []
        newer = [replace(task, version=task.version + 1) for task in changed]
        await connection_of(tx).execute(
            tasks.update().where(tasks.c.id == bindparam("task_id")),
            [{"task_id": task.id, **task_values(task)} for task in newer],
        )
        return newer

    async def overview(
        self,
        tx: Tx,
        organization_ids: Collection[OrganizationId],
        pool_ids: Collection[PoolId],
    ) -> Overview:
        """What could be claimed now by one of these pools, labels aside; oldest first."""
        head = (
            _KINDS.where(
                among(tasks.c.organization_id, organization_ids),
                or_(tasks.c.pool_id.is_(None), among(tasks.c.pool_id, pool_ids)),
            )
            .order_by(tasks.c.sequence)
            .limit(LOOK_AT)
            .subquery()
        )
        kind = (head.c.organization_id, head.c.pool_id, head.c.labels, head.c.apply)
        found = await connection_of(tx).execute(
            select(*kind, func.count().label("number"))
            .group_by(*kind)
            .order_by(func.min(head.c.sequence))
        )
        works = [
            Work(
                organization_id=row.organization_id,
                pool_id=row.pool_id,
                labels=labels_of(row.labels),
                apply=row.apply,
                count=row.number,
            )
            for row in found
        ]
        return Overview(works, whole=sum(work.count for work in works) < LOOK_AT)

    async def claimable(
        self, tx: Tx, wanted: Wanted, *, limit: int, without: Collection[TaskId] = ()
    ) -> list[Task]:
        """The first tasks in the queue whose phase may be taken, kept from others.

        What `matching.serves` and `queue.claimable` say, in SQL.
        """
        if not (wanted.plan or wanted.apply):
            return []
        texts = await self._texts_served(tx, wanted)
        query = (
            _TASKS.where(
                tasks.c.organization_id == wanted.organization_id,
                or_(
                    tasks.c.pool_id == wanted.pool_id,
                    and_(tasks.c.pool_id.is_(None), among(tasks.c.labels, texts)),
                ),
            )
            .order_by(tasks.c.sequence)
            .limit(limit)
            .with_for_update(of=tasks, key_share=True, skip_locked=True)
        )
        if not wanted.plan:
            query = query.where(_IS_APPLY)
        if not wanted.apply:
            query = query.where(~_IS_APPLY)
        if without:
            query = query.where(~among(tasks.c.id, without))
        rows = await connection_of(tx).execute(query)
        return [task_of(row) for row in rows.mappings()]

    async def _texts_served(self, tx: Tx, wanted: Wanted) -> list[str]:
        """Labels of waiting tasks that the pool has, as texts: equal labels, equal texts."""
        if not wanted.labels:
            return [NO_LABELS]
        found = await connection_of(tx).scalars(
            select(tasks.c.labels)
            .where(
                _WAITING,
                tasks.c.organization_id == wanted.organization_id,
                tasks.c.pool_id.is_(None),
                tasks.c.labels != NO_LABELS,
            )
            .distinct()
        )
        served = [text for text in found if has_labels(wanted.labels, labels_of(text))]
        return [NO_LABELS, *served]

    async def before_gate(self, tx: Tx, *, limit: int) -> list[TaskId]:
        """Queued tasks whose turn it is and that have a gate before their first phase."""
        found = await connection_of(tx).scalars(
            _BEFORE_GATE.order_by(tasks.c.sequence).limit(limit)
        )
        return [TaskId(task_id) for task_id in found]

    async def holdings(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, Holding]:
        """What agents hold leases of; those without are left out."""
        rows = await connection_of(tx).execute(
            select(tasks.c.lease_agent_id, tasks.c.phase, func.count().label("number"))
            .where(among(tasks.c.lease_agent_id, agent_ids))
            .group_by(tasks.c.lease_agent_id, tasks.c.phase)
        )
        held: dict[AgentId, Holding] = {}
        for row in rows:
            agent_id = AgentId(row.lease_agent_id)
            before = held.get(agent_id, Holding())
            held[agent_id] = before.plus(PhaseName(row.phase), row.number)
        return held

    async def add_leases(self, tx: Tx, leases: Sequence[LeaseRecord]) -> None:
        """Remember new leases."""
        if leases:
            await connection_of(tx).execute(
                task_leases.insert(), [lease_values(lease) for lease in leases]
            )


def _has_turn() -> ColumnElement[bool]:
    """`queue.has_turn` in SQL, over tasks joined with their workspaces."""
    other = tasks.alias("other")
    earlier = exists().where(
        other.c.workspace_id == tasks.c.workspace_id,
        other.c.completed_at.is_(None),
        other.c.task_type.not_in(_LOCKLESS),
        other.c.state.not_in(_TERMINAL),
        other.c.gate.is_distinct_from(Gate.POST_APPLY.value),
        other.c.sequence < tasks.c.sequence,
    )
    lock_id = workspaces.c.lock_id
    return or_(
        tasks.c.task_type.in_(_LOCKLESS),
        and_(~earlier, or_(lock_id.is_(None), lock_id == tasks.c.id)),
    )


def _with_turn(*columns: Any) -> Select[Any]:
    """Tasks that have their turn in their workspace."""
    at_home = tasks.outerjoin(workspaces, workspaces.c.id == tasks.c.workspace_id)
    return select(*columns).select_from(at_home).where(_TURN)


def _claimable(*columns: Any) -> Select[Any]:
    """Waiting tasks that have their turn in their workspace."""
    return _with_turn(*columns).where(_WAITING)


_TURN = _has_turn()
_TASKS = _claimable(tasks)
_BEFORE_GATE = _with_turn(tasks.c.id).where(
    _OPEN, tasks.c.state == TaskState.QUEUED.value, tasks.c.gate.is_not(None)
)
_KINDS = _claimable(
    tasks.c.organization_id,
    tasks.c.pool_id,
    tasks.c.labels,
    _IS_APPLY.label("apply"),
    tasks.c.sequence,
)
