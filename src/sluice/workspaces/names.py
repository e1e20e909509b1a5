"""Finds workspaces for the scopes of tokens; fulfils a port that `auth` declares."""

from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.workspaces.ports import WorkspaceStore


class NamedWorkspaces:
    """`WorkspaceNames` over the workspaces there are."""

    def __init__(self, store: WorkspaceStore) -> None:
        self._store = store

    async def find(
        self, tx: Tx, organization_id: OrganizationId, id_or_name: str
    ) -> WorkspaceId | None:
        """The organization's workspace with this id or name."""
        found = await self._store.get(tx, WorkspaceId(id_or_name))
        if found is None or found.organization_id != organization_id:
            found = await self._store.find(tx, organization_id, id_or_name)
        return None if found is None else found.id
