"""A workspace's notifications as what hangs on it; fulfils a port that `workspaces` declares."""

from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.notifications.ports import NotificationStore


class NotificationBelongings:
    """Notifications go with their workspace and never stand against that."""

    def __init__(self, store: NotificationStore) -> None:
        self._store = store

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Nothing: what waits to be told is not told any more."""
        return None

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete all of them with their messages; there are no blobs of them."""
        await self._store.delete_all(tx, workspace_id)
        return []
