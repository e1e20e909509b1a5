"""What scripts need: their own store, pools, and what is left of their old logs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sluice.base.ids import OrganizationId, PoolId, ScriptId, TaskId
from sluice.base.transactions import Tx
from sluice.scripts.model import OldLog, Script


class ScriptStore(Protocol):
    """Registered scripts, and the logs of their tasks."""

    async def add(self, tx: Tx, script: Script) -> None:
        """Keep a new script.

        Raises:
            ConflictError: the organization has one with this key.
        """
        ...

    async def get(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script with this id."""
        ...

    async def hold(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script, kept from others' changes until the transaction ends."""
        ...

    async def find(
        self, tx: Tx, organization_id: OrganizationId, key: str
    ) -> Script | None:
        """The organization's script with this key."""
        ...

    async def list_scripts(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Script]:
        """An organization's scripts by key."""
        ...

    async def save(self, tx: Tx, script: Script) -> None:
        """Store a changed script.

        Raises:
            ConflictError: another of the organization has this key.
        """
        ...

    async def set_last_task(self, tx: Tx, script_id: ScriptId, task_id: TaskId) -> None:
        """Remember the newest run."""
        ...

    async def delete(self, tx: Tx, script_id: ScriptId) -> None:
        """Forget a script; its tasks stay."""
        ...

    async def old_logs(
        self, tx: Tx, *, ended_before: datetime, limit: int
    ) -> list[OldLog]:
        """Archived logs of script tasks that ended before then, oldest first; among them
        those whose removal was begun and not finished.
        """
        ...


class Pools(Protocol):
    """Knows pools (`agents` stands beside and fulfils this)."""

    async def pool_organization(self, tx: Tx, pool_id: PoolId) -> OrganizationId | None:
        """Whose pool it is; None where there is no such pool."""
        ...


class RetiredLogs(Protocol):
    """Lets a log's content go and keeps its record (`logs.ports.LogStore`)."""

    async def retire(self, tx: Tx, task_id: TaskId, *, at: datetime) -> bool:
        """Nobody reads it any more; False where that was so before."""
        ...

    async def forget_object(self, tx: Tx, task_id: TaskId) -> bool:
        """Its object is deleted; False where that was known."""
        ...


class LateSize(Protocol):
    """What is asked of late output."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...


class LateOutput(Protocol):
    """Output that came after its lease had ended (`tasks.ports.LateOutputStore`)."""

    async def of_task(self, tx: Tx, task_id: TaskId) -> Sequence[LateSize]:
        """What is kept of a task's leases."""
        ...

    async def remove(self, tx: Tx, task_id: TaskId) -> None:
        """Forget it."""
        ...


class BlobRemoval(Protocol):
    """Deletes objects (`blobs.store.Blobs`)."""

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is fine."""
        ...
