"""Workspaces and variables in dicts."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import OrganizationId, PoolId, VariableId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.workspaces.model import Lock, Variable, Workspace
from sluice.workspaces.ports import WorkspaceFilter


class MemoryWorkspaceStore:
    """The in-memory twin of `SqlWorkspaceStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[WorkspaceId, Workspace]())

    async def add(self, tx: Tx, workspace: Workspace) -> None:
        """Keep a new workspace."""
        writing(tx)
        self._refuse_taken(workspace)
        self._rows[workspace.id] = workspace

    async def get(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace with this id."""
        reading(tx)
        return self._rows.get(workspace_id)

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace; transactions run one at a time, so it is held."""
        writing(tx)
        return self._rows.get(workspace_id)

    async def get_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """Workspaces by their ids; those unknown are left out."""
        reading(tx)
        return {row.id: row for row in self._rows.values() if row.id in workspace_ids}

    async def hold_free(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """`hold` for many; transactions run one at a time, so all are free."""
        writing(tx)
        return await self.get_many(tx, workspace_ids)

    async def find(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> Workspace | None:
        """The organization's workspace of this name."""
        reading(tx)
        return next(
            (row for row in self._of(organization_id) if row.name == name), None
        )

    async def list_workspaces(
        self, tx: Tx, which: WorkspaceFilter, page: Page
    ) -> tuple[list[Workspace], int]:
        """Workspaces by name, and how many there are in all."""
        reading(tx)
        rows = sorted(
            (
                row
                for row in self._of(which.organization_id)
                if which.name in {None, row.name}
                and (which.visible is None or row.id in which.visible)
            ),
            key=lambda row: row.name,
        )
        return rows[page.offset : page.offset + page.limit], len(rows)

    async def naming_pool(self, tx: Tx, pool_id: PoolId) -> list[str]:
        """Names of the workspaces that name this pool."""
        reading(tx)
        return sorted(row.name for row in self._rows.values() if row.pool_id == pool_id)

    async def save(self, tx: Tx, workspace: Workspace) -> None:
        """Store changed settings."""
        writing(tx)
        self._refuse_taken(workspace)
        old = self._rows[workspace.id]
        self._rows[workspace.id] = replace(
            workspace, lock=old.lock, state_diverged=old.state_diverged
        )

    async def delete(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove the workspace."""
        writing(tx)
        self._rows.pop(workspace_id, None)

    async def take_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock: Lock
    ) -> Lock | None:
        """Take the lock if it is free."""
        writing(tx)
        row = self._rows.get(workspace_id)
        if row is None:
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        if row.lock is None:
            self._rows[workspace_id] = replace(row, lock=lock)
        return row.lock

    async def set_locks(self, tx: Tx, locks: Mapping[WorkspaceId, Lock]) -> None:
        """Lock workspaces that this transaction holds and has seen unlocked."""
        writing(tx)
        for workspace_id, lock in locks.items():
            self._rows[workspace_id] = replace(self._rows[workspace_id], lock=lock)

    async def release_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str
    ) -> bool:
        """Free the lock if ``lock_id`` holds it."""
        writing(tx)
        row = self._rows.get(workspace_id)
        if row is None or row.lock is None or row.lock.id != lock_id:
            return False
        self._rows[workspace_id] = replace(row, lock=None)
        return True

    async def set_diverged(
        self, tx: Tx, workspace_id: WorkspaceId, text: str | None
    ) -> None:
        """Note why the stored state is behind, or that it no longer is."""
        writing(tx)
        row = self._rows.get(workspace_id)
        if row is not None:
            self._rows[workspace_id] = replace(row, state_diverged=text)

    def _of(self, organization_id: OrganizationId) -> list[Workspace]:
        return [
            row for row in self._rows.values() if row.organization_id == organization_id
        ]

    def _refuse_taken(self, workspace: Workspace) -> None:
        for row in self._of(workspace.organization_id):
            if row.name == workspace.name and row.id != workspace.id:
                raise ConflictError(
                    f"The organization has a workspace {workspace.name!r} already; "
                    "choose another name."
                )


class MemoryVariableStore:
    """The in-memory twin of `SqlVariableStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[VariableId, Variable]())

    async def add(self, tx: Tx, variable: Variable) -> None:
        """Keep a new variable."""
        writing(tx)
        for row in self._of(variable.workspace_id):
            if (row.category, row.key) == (variable.category, variable.key):
                raise ConflictError(
                    f"The workspace has a {variable.category} variable "
                    f"{variable.key!r} already; change that one."
                )
        self._rows[variable.id] = variable

    async def get(
        self, tx: Tx, workspace_id: WorkspaceId, variable_id: VariableId
    ) -> Variable | None:
        """The workspace's variable with this id."""
        reading(tx)
        row = self._rows.get(variable_id)
        return row if row is not None and row.workspace_id == workspace_id else None

    async def list_variables(self, tx: Tx, workspace_id: WorkspaceId) -> list[Variable]:
        """A workspace's variables by category and key."""
        reading(tx)
        return sorted(
            self._of(workspace_id), key=lambda row: (row.category.value, row.key)
        )

    async def list_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, list[Variable]]:
        """`list_variables` for many; workspaces without variables are left out."""
        found = {
            workspace_id: await self.list_variables(tx, workspace_id)
            for workspace_id in workspace_ids
        }
        return {workspace_id: rows for workspace_id, rows in found.items() if rows}

    async def save(self, tx: Tx, variable: Variable) -> None:
        """Store a changed variable."""
        writing(tx)
        if variable.id in self._rows:
            self._rows[variable.id] = variable

    async def delete(self, tx: Tx, variable_id: VariableId) -> None:
        """Remove a variable."""
        writing(tx)
        self._rows.pop(variable_id, None)

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all variables of a workspace."""
        writing(tx)
        for row in self._of(workspace_id):
            del self._rows[row.id]

    def _of(self, workspace_id: WorkspaceId) -> list[Variable]:
        return [row for row in self._rows.values() if row.workspace_id == workspace_id]
