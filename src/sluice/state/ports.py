"""What state needs: its own store, and the workspace with its lock."""

from datetime import datetime
from typing import Protocol

from sluice.base.ids import StateVersionId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.state.model import StateVersion
from sluice.terraform.lock_info import LockInfo


class StateStore(Protocol):
    """State versions of workspaces."""

    async def add(
        self, tx: Tx, version: StateVersion, sealed_outputs: bytes | None
    ) -> None:
        """Keep a new version; the workspace is held in this transaction."""
        ...

    async def sealed_outputs(self, tx: Tx, version_id: StateVersionId) -> bytes | None:
        """The version's outputs as they were added."""
        ...

    async def get(self, tx: Tx, version_id: StateVersionId) -> StateVersion | None:
        """The version with this id."""
        ...

    async def newest(self, tx: Tx, workspace_id: WorkspaceId) -> StateVersion | None:
        """The workspace's version with the highest sequence."""
        ...

    async def list_versions(
        self, tx: Tx, workspace_id: WorkspaceId, page: Page
    ) -> list[StateVersion]:
        """A workspace's versions, newest first."""
        ...

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        ...

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        ...


class Locks(Protocol):
    """The workspace's lock as state needs it (`workspaces.state_locks.StateLocks`).

    Every holder is shown as terraform's lock document.
    """

    async def exists(self, tx: Tx, workspace_id: WorkspaceId) -> bool:
        """Whether there is such a workspace."""
        ...

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Keep the workspace from others' writes until the transaction ends.

        Raises:
            NotFoundError: there is no such workspace.
        """
        ...

    async def may_write(self, tx: Tx, workspace_id: WorkspaceId, actor: str) -> None:
        """Hold, and let pass where the lock is free or ``actor`` took it by hand.

        Raises:
            LockedError: somebody else holds the lock.
        """
        ...

    async def settle_divergence(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Note that a person has said what the state is: it no longer counts as behind."""
        ...

    async def terraform_may_write(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str
    ) -> LockInfo | None:
        """Hold; None where the lock is free or the terraform with this ID has it,
        else who holds it.
        """
        ...

    async def take(
        self,
        tx: Tx,
        workspace_id: WorkspaceId,
        info: LockInfo,
        *,
        actor: str,
        now: datetime,
    ) -> LockInfo | None:
        """Take the lock for a terraform of ``actor``: None where taken, else the holder."""
        ...

    async def release(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str | None, *, actor: str
    ) -> LockInfo | None:
        """Free the lock that ``actor``'s terraform with this ID holds (None: anybody's).

        None where it is free now, else who holds it.
        """
        ...
