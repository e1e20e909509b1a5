"""A workspace's attachments as what hangs on it; fulfils a port that `workspaces` declares."""

from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.runtasks.ports import RunTaskStore


class AttachmentBelongings:
    """Attachments go with their workspace and never stand against that."""

    def __init__(self, store: RunTaskStore) -> None:
        self._store = store

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Nothing: the run tasks themselves stay."""
        return None

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete all attachments; there are no blobs of them."""
        await self._store.detach_all(tx, workspace_id)
        return []
