"""What workspaces need: their own stores, organizations and pools, and what hangs on a workspace."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from sluice.auth.model import Organization
from sluice.base.ids import OrganizationId, PoolId, TaskId, VariableId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.workspaces.model import Lock, Variable, Workspace


@dataclass(frozen=True, slots=True)
class WorkspaceFilter:
    """Which workspaces of an organization a list shows.

    Attributes:
        name: the one of this name; None for any.
        visible: none but these; None for all.
    """

    organization_id: OrganizationId
    name: str | None = None
    visible: frozenset[WorkspaceId] | None = None


class WorkspaceStore(Protocol):
    """Workspaces and their locks."""

    async def add(self, tx: Tx, workspace: Workspace) -> None:
        """Keep a new workspace.

        Raises:
            ConflictError: the organization has one of this name.
        """
        ...

    async def get(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace with this id."""
        ...

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace, kept from others' writes until the transaction ends."""
        ...

    async def get_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """Workspaces by their ids; those unknown are left out."""
        ...

    async def hold_free(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """`hold` for many, without waiting: those that others hold are left out."""
        ...

    async def find(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> Workspace | None:
        """The organization's workspace of this name."""
        ...

    async def list_workspaces(
        self, tx: Tx, which: WorkspaceFilter, page: Page
    ) -> tuple[list[Workspace], int]:
        """Workspaces by name, and how many there are in all."""
        ...

    async def naming_pool(self, tx: Tx, pool_id: PoolId) -> list[str]:
        """Names of the workspaces that name this pool."""
        ...

    async def save(self, tx: Tx, workspace: Workspace) -> None:
        """Store changed settings; the lock and ``state_diverged`` have ways of their own.

        Raises:
            ConflictError: the organization has another one of this name.
        """
        ...

    async def delete(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove the workspace and what the database keeps under it."""
        ...

    async def take_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock: Lock
    ) -> Lock | None:
        """Take the lock if it is free: None where taken, else who holds it.

        Raises:
            NotFoundError: there is no such workspace.
        """
        ...

    async def set_locks(self, tx: Tx, locks: Mapping[WorkspaceId, Lock]) -> None:
        """Lock workspaces that this transaction holds and has seen unlocked."""
        ...

    async def release_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str
    ) -> bool:
        """Free the lock if ``lock_id`` holds it; False where it does not."""
        ...

    async def set_diverged(
        self, tx: Tx, workspace_id: WorkspaceId, text: str | None
    ) -> None:
        """Note why the stored state is behind the infrastructure, or that it no longer is."""
        ...


class VariableStore(Protocol):
    """Variables of workspaces."""

    async def add(self, tx: Tx, variable: Variable) -> None:
        """Keep a new variable.

        Raises:
            ConflictError: the workspace has one of this category and key.
        """
        ...

    async def get(
        self, tx: Tx, workspace_id: WorkspaceId, variable_id: VariableId
    ) -> Variable | None:
        """The workspace's variable with this id."""
        ...

    async def list_variables(self, tx: Tx, workspace_id: WorkspaceId) -> list[Variable]:
        """A workspace's variables by category and key."""
        ...

    async def list_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, list[Variable]]:
        """`list_variables` for many; workspaces without variables are left out."""
        ...

    async def save(self, tx: Tx, variable: Variable) -> None:
        """Store a changed variable; its key and category never change."""
        ...

    async def delete(self, tx: Tx, variable_id: VariableId) -> None:
        """Remove a variable."""
        ...

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all variables of a workspace."""
        ...


class Organizations(Protocol):
    """What workspaces may know of organizations (`auth.ports.AuthStore`)."""

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        ...

    async def list_organizations(self, tx: Tx) -> list[Organization]:
        """All organizations by name."""
        ...

    async def find_organization(self, tx: Tx, name: str) -> Organization | None:
        """The organization with this name."""
        ...


class Pools(Protocol):
    """What workspaces may know of pools (`agents` stands above and fulfils this)."""

    async def pool_organization(self, tx: Tx, pool_id: PoolId) -> OrganizationId | None:
        """Whose pool it is; None where there is no such pool."""
        ...


class Tasks(Protocol):
    """What workspaces may know of tasks (`tasks` stands above and fulfils this)."""

    async def unfinished(self, tx: Tx, task_id: TaskId) -> bool:
        """Whether there is such a task and it has not ended."""
        ...


class Belongings(Protocol):
    """One kind of thing that hangs on a workspace: its state, configurations or tasks."""

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Why the workspace should not be deleted, e.g. ``its state holds 3 resources``."""
        ...

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete the rows before the workspace's own; returns the blobs that may go then."""
        ...
