"""What configuration versions need: their own store, and to know that a workspace exists."""

from typing import Protocol

from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.configs.model import ConfigurationVersion


class ConfigurationStore(Protocol):
    """Configuration versions."""

    async def add(self, tx: Tx, version: ConfigurationVersion) -> None:
        """Keep a new version."""
        ...

    async def get(
        self, tx: Tx, version_id: ConfigurationVersionId
    ) -> ConfigurationVersion | None:
        """The version with this id."""
        ...

    async def settle(self, tx: Tx, version: ConfigurationVersion) -> bool:
        """Store the outcome of an upload if the version is still pending."""
        ...

    async def newest_uploaded(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> ConfigurationVersion | None:
        """The workspace's uploaded version that was created last."""
        ...

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        ...

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        ...


class Workspaces(Protocol):
    """What configurations may know of workspaces (`workspaces.state_locks`)."""

    async def exists(self, tx: Tx, workspace_id: WorkspaceId) -> bool:
        """Whether there is such a workspace."""
        ...
