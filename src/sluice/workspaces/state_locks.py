"""A workspace's lock as `state` and `configs` need it; fulfils ports that they declare."""

from datetime import datetime

from sluice.base.errors import LockedError, NotFoundError
from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.terraform.lock_info import LockInfo
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.locking import as_lock_info, holds, refusal, terraform_lock
from sluice.workspaces.model import Lock, Workspace
from sluice.workspaces.ports import WorkspaceStore


class StateLocks:
    """Shows every holder as terraform's lock document, and takes locks for terraform."""

    def __init__(self, store: WorkspaceStore) -> None:
        self._store = store

    async def exists(self, tx: Tx, workspace_id: WorkspaceId) -> bool:
        """Whether there is such a workspace."""
        return await self._store.get(tx, workspace_id) is not None

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Keep the workspace from others' writes until the transaction ends."""
        await self._hold(tx, workspace_id)

    async def may_write(self, tx: Tx, workspace_id: WorkspaceId, actor: str) -> None:
        """Let pass where the lock is free or ``actor`` took it by hand."""
        workspace = await self._hold(tx, workspace_id)
        if workspace.lock is not None and not holds(workspace.lock, actor):
            raise LockedError(refusal(workspace, workspace.lock))

    async def settle_divergence(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """The state no longer counts as behind the infrastructure."""
        await self._store.set_diverged(tx, workspace_id, None)

    async def terraform_may_write(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str
    ) -> LockInfo | None:
        """None where the lock is free or this terraform has it, else who holds it."""
        workspace = await self._hold(tx, workspace_id)
        lock = workspace.lock
        if lock is None or (_of_terraform(lock) and lock.id == lock_id):
            return None
        return as_lock_info(workspace, lock)

    async def take(
        self,
        tx: Tx,
        workspace_id: WorkspaceId,
        info: LockInfo,
        *,
        actor: str,
        now: datetime,
    ) -> LockInfo | None:
        """Take the lock for a terraform: None where taken (or its own), else the holder."""
        workspace = await self._hold(tx, workspace_id)
        lock = terraform_lock(info, actor=actor, now=now)
        held = await self._store.take_lock(tx, workspace_id, lock)
        if held is None or (_of_terraform(held) and held.id == lock.id):
            return None
        return as_lock_info(workspace, held)

    async def release(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str | None, *, actor: str
    ) -> LockInfo | None:
        """Free a terraform's lock: None where it is free now, else who holds it.

        Everybody who reads the workspace sees the ID of its lock, whoever's it is: knowing
        one frees nothing. Without an ID any terraform's lock is freed.
        """
        workspace = await self._hold(tx, workspace_id)
        lock = workspace.lock
        if lock is None:
            return None
        own = lock_id is None or (lock.id, lock.holder) == (lock_id, actor)
        if not _of_terraform(lock) or not own:
            return as_lock_info(workspace, lock)
        await self._store.release_lock(tx, workspace_id, lock.id)
        return None

    async def _hold(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace:
        workspace = await self._store.hold(tx, workspace_id)
        if workspace is None:
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        return workspace


def _of_terraform(lock: Lock) -> bool:
    return lock.kind is LockHolderKind.TERRAFORM
