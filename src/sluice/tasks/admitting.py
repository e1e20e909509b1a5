"""Lets a new task in where its organization and its workspace may have one more."""

from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.quota import check_new


async def admit(
    deps: TaskDeps,
    tx: Tx,
    *,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId | None = None,
) -> None:
    """Count unfinished tasks, in the transaction that makes the next one.

    Raises:
        RateLimitedError: it would be one too many.
    """
    if deps.quota.counts_unfinished:
        found = await deps.store.unfinished(tx, organization_id, workspace_id)
        check_new(deps.quota, found)
