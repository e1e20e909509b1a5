"""Looks up, for tasks that wait for an agent, what the words of their reason need."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sluice.base.ids import OrganizationId, PoolId, TaskId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import Task
from sluice.tasks.queue import (
    ALIVE_SECONDS,
    WAITING,
    PoolFacts,
    WaitFacts,
    waiting_reason,
)
from sluice.workspaces.model import Lock


async def reasons(deps: TaskDeps, tx: Tx, tasks: Sequence[Task]) -> dict[TaskId, str]:
    """Why each task stands where it stands: computed for those that wait, else as stored."""
    waiting = [task for task in tasks if task.state in WAITING]
    found = {task.id: task.reason for task in tasks}
    if not waiting:
        return found
    workspace_ids = sorted({task.workspace_id for task in waiting})
    contenders = await deps.store.waiting_for_lock(tx, workspace_ids)
    locks = await _locks(deps, tx, workspace_ids)
    since = deps.clock.now() - timedelta(seconds=ALIVE_SECONDS)
    pools = await _pools(deps, tx, waiting, since)
    for task in waiting:
        facts = WaitFacts(
            contenders=[
                other for other in contenders if other.workspace_id == task.workspace_id
            ],
            lock=locks[task.workspace_id],
            pool=pools[task.organization_id, task.pool_id],
        )
        found[task.id] = waiting_reason(task, facts)
    return found


async def _locks(
    deps: TaskDeps, tx: Tx, workspace_ids: Sequence[WorkspaceId]
) -> dict[WorkspaceId, Lock | None]:
    locks: dict[WorkspaceId, Lock | None] = {}
    for workspace_id in workspace_ids:
        workspace = await deps.workspaces.store.get(tx, workspace_id)
        locks[workspace_id] = workspace.lock if workspace else None
    return locks


async def _pools(
    deps: TaskDeps, tx: Tx, waiting: Sequence[Task], since: datetime
) -> dict[tuple[OrganizationId, PoolId | None], PoolFacts]:
    pools: dict[tuple[OrganizationId, PoolId | None], PoolFacts] = {}
    for task in waiting:
        key = task.organization_id, task.pool_id
        if key not in pools:
            pools[key] = await deps.agents.pool_facts(tx, *key, since)
    return pools
