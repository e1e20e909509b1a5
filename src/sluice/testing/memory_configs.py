"""Configuration versions in a dict."""

from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.configs.model import ConfigurationVersion
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.wire.shapes.configs import ConfigurationStatus


class MemoryConfigurationStore:
    """The in-memory twin of `SqlConfigurationStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(
            dict[ConfigurationVersionId, ConfigurationVersion]()
        )

    async def add(self, tx: Tx, version: ConfigurationVersion) -> None:
        """Keep a new version."""
        writing(tx)
        self._rows[version.id] = version

    async def get(
        self, tx: Tx, version_id: ConfigurationVersionId
    ) -> ConfigurationVersion | None:
        """The version with this id."""
        reading(tx)
        return self._rows.get(version_id)

    async def settle(self, tx: Tx, version: ConfigurationVersion) -> bool:
        """Store the outcome of an upload if the version is still pending."""
        writing(tx)
        row = self._rows.get(version.id)
        if row is None or row.status is not ConfigurationStatus.PENDING:
            return False
        self._rows[version.id] = version
        return True

    async def newest_uploaded(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> ConfigurationVersion | None:
        """The workspace's uploaded version that was created last."""
        reading(tx)
        uploaded = [
            row
            for row in self._of(workspace_id)
            if row.status is ConfigurationStatus.UPLOADED
        ]
        return max(uploaded, key=lambda row: (row.created_at, row.id), default=None)

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        reading(tx)
        return [row.blob_key for row in self._of(workspace_id) if row.blob_key]

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        writing(tx)
        for row in self._of(workspace_id):
            del self._rows[row.id]

    def _of(self, workspace_id: WorkspaceId) -> list[ConfigurationVersion]:
        return [row for row in self._rows.values() if row.workspace_id == workspace_id]
