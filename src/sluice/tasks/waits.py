"""Looks up, for tasks that wait for an agent, what the words of their reason need."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sluice.base.ids import OrganizationId, TaskId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.gate_actions import describe
from sluice.tasks.model import Task
from sluice.tasks.queue import ALIVE_SECONDS, WAITING, WaitFacts, waiting_reason
from sluice.tasks.quota import running_reason


async def reasons(deps: TaskDeps, tx: Tx, tasks: Sequence[Task]) -> dict[TaskId, str]:
    """Why each task stands where it stands: computed for those that wait, else as stored."""
    waiting = [task for task in tasks if task.state in WAITING]
    found = {task.id: task.reason for task in tasks}
    found |= await describe(deps, tx, tasks)
    if not waiting:
        return found
    workspace_ids = sorted(
        {task.workspace_id for task in waiting if task.workspace_id is not None}
    )
    contenders = await deps.store.waiting_for_lock(tx, workspace_ids)
    workspaces = await deps.workspaces.store.get_many(tx, workspace_ids)
    since = deps.clock.now() - timedelta(seconds=ALIVE_SECONDS)
    pools = {
        organization_id: await deps.agents.pools(tx, organization_id, since)
        for organization_id in {task.organization_id for task in waiting}
    }
    full = await _full(deps, tx, pools)
    for task in waiting:
        workspace = workspaces.get(task.workspace_id) if task.workspace_id else None
        facts = WaitFacts(
            contenders=[
                other for other in contenders if other.workspace_id == task.workspace_id
            ],
            lock=workspace.lock if workspace else None,
            pools=pools[task.organization_id],
            running=full.get(task.organization_id, ""),
        )
        found[task.id] = waiting_reason(task, facts)
    return found


async def _full(
    deps: TaskDeps, tx: Tx, organization_ids: Collection[OrganizationId]
) -> dict[OrganizationId, str]:
    """Organizations of which as many tasks run as may, with that in words."""
    most = deps.quota.running
    if not most:
        return {}
    running = await deps.store.running(tx, organization_ids)
    found = {}
    for organization_id, number in running.items():
        if number >= most:
            organization = await deps.workspaces.organizations.get_organization(
                tx, organization_id
            )
            name = organization.name if organization else organization_id
            found[organization_id] = running_reason(number, most, name)
    return found
