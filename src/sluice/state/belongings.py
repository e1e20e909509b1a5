"""A workspace's state as what hangs on it; fulfils a port that `workspaces` declares."""

from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.state.ports import StateStore


class StateBelongings:
    """State versions go with their workspace, unless the present one holds resources."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Why the workspace should not be deleted."""
        newest = await self._store.newest(tx, workspace_id)
        if newest is None or newest.resource_count == 0:
            return None
        count = newest.resource_count
        return f"its state holds {count} resource{'' if count == 1 else 's'}"

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete all versions; returns their blobs."""
        keys = await self._store.blob_keys(tx, workspace_id)
        await self._store.delete_all(tx, workspace_id)
        return keys
