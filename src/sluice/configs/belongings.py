"""A workspace's configurations as what hangs on it; fulfils a port that `workspaces` declares."""

from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.configs.ports import ConfigurationStore


class ConfigurationBelongings:
    """Configuration versions go with their workspace and never stand against that."""

    def __init__(self, store: ConfigurationStore) -> None:
        self._store = store

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Nothing: they can be uploaded again."""
        return None

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete all versions; returns their blobs."""
        keys = await self._store.blob_keys(tx, workspace_id)
        await self._store.delete_all(tx, workspace_id)
        return keys
