"""State versions in a dict."""

from sluice.base.ids import StateVersionId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.state.model import StateVersion
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryStateStore:
    """The in-memory twin of `SqlStateStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[StateVersionId, StateVersion]())
        self._outputs = transactions.table(dict[StateVersionId, bytes | None]())

    async def add(
        self, tx: Tx, version: StateVersion, sealed_outputs: bytes | None
    ) -> None:
        """Keep a new version."""
        writing(tx)
        self._rows[version.id] = version
        self._outputs[version.id] = sealed_outputs

    async def sealed_outputs(self, tx: Tx, version_id: StateVersionId) -> bytes | None:
        """The version's outputs as they were added."""
        reading(tx)
        return self._outputs.get(version_id)

    async def get(self, tx: Tx, version_id: StateVersionId) -> StateVersion | None:
        """The version with this id."""
        reading(tx)
        return self._rows.get(version_id)

    async def newest(self, tx: Tx, workspace_id: WorkspaceId) -> StateVersion | None:
        """The workspace's version with the highest sequence."""
        reading(tx)
        return next(iter(self._newest_first(workspace_id)), None)

    async def list_versions(
        self, tx: Tx, workspace_id: WorkspaceId, page: Page
    ) -> list[StateVersion]:
        """A workspace's versions, newest first."""
        reading(tx)
        rows = self._newest_first(workspace_id)
        return rows[page.offset : page.offset + page.limit]

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        reading(tx)
        return [
            row.blob_key for row in self._newest_first(workspace_id) if row.blob_key
        ]

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        writing(tx)
        for row in self._newest_first(workspace_id):
            del self._rows[row.id]
            del self._outputs[row.id]

    def _newest_first(self, workspace_id: WorkspaceId) -> list[StateVersion]:
        rows = [row for row in self._rows.values() if row.workspace_id == workspace_id]
        return sorted(rows, key=lambda row: row.sequence, reverse=True)
