"""Access for applications that a test puts together around routes of one concept."""

from collections.abc import Mapping
from dataclasses import replace

from sluice.auth.model import SITE, Place, Principal, Standing, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.policy import user_at
from sluice.base.ids import OrganizationId, WorkspaceId


class OpenAccess:
    """Stands for `Access` where nobody is kept out of any organization or workspace.

    Put it into ``app.state.access``.
    """

    names: frozenset[str] = frozenset()

    async def enter(
        self, principal: Principal, named: Mapping[str, str]
    ) -> tuple[Principal, Place]:
        """The caller as an owner of every organization."""
        return await self.at(principal, SITE), SITE

    async def at(self, principal: Principal, place: Place) -> Principal:
        """The caller as an owner of every organization."""
        if not isinstance(principal, UserPrincipal):
            return principal
        found = user_at(replace(principal, admin=True), place, Standing())
        if not principal.admin:
            found -= {Permission.ADMIN}
        return replace(principal, permissions=found)

    async def visible_workspaces(
        self, principal: Principal, place: Place
    ) -> frozenset[WorkspaceId] | None:
        """All."""
        return None

    async def visible_organizations(
        self, principal: Principal
    ) -> frozenset[OrganizationId] | None:
        """All."""
        return None
