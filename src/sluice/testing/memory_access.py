"""The in-memory twin of `SqlAccessStore`, over the rows of `MemoryAuthStore`."""

from sluice.auth.model import OrganizationPermission, Place, Standing, Team
from sluice.base.ids import OrganizationId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.testing.memory import reading
from sluice.testing.memory_members import Who


class MemoryAccessStore:
    """`AccessStore` over dicts."""

    def __init__(self, who: Who) -> None:
        self._who = who

    async def standing(self, tx: Tx, user_id: UserId, place: Place) -> Standing:
        """What a user is at a place."""
        reading(tx)
        owner = place.organization_id
        if owner is None or (owner, user_id) not in self._who.memberships:
            return Standing()
        own_teams = self._teams(owner, user_id)
        permissions: set[OrganizationPermission] = set()
        for team in own_teams:
            permissions |= team.permissions
        subjects = {user_id, *(team.id for team in own_teams)}
        levels = [team.level for team in own_teams if team.level is not None]
        levels += [
            grant.level
            for (workspace_id, subject), grant in self._who.grants.items()
            if workspace_id == place.workspace_id
            and subject in subjects
            and grant.organization_id == owner
        ]
        return Standing(
            role=self._who.memberships[owner, user_id].role,
            permissions=frozenset(permissions),
            level=max(levels, key=lambda level: level.rank, default=None),
        )

    async def granted_workspaces(
        self, tx: Tx, user_id: UserId, organization_id: OrganizationId
    ) -> frozenset[WorkspaceId]:
        """The workspaces in which a user or one of their teams has a grant."""
        reading(tx)
        own_teams = self._teams(organization_id, user_id)
        subjects = {user_id, *(team.id for team in own_teams)}
        return frozenset(
            workspace_id
            for (workspace_id, subject), grant in self._who.grants.items()
            if subject in subjects and grant.organization_id == organization_id
        )

    async def organizations_of(
        self, tx: Tx, user_id: UserId
    ) -> frozenset[OrganizationId]:
        """The organizations of which a user is a member."""
        reading(tx)
        return frozenset(
            owner for owner, member in self._who.memberships if member == user_id
        )

    def _teams(self, organization_id: OrganizationId, user_id: UserId) -> list[Team]:
        return [
            team
            for team in self._who.teams.values()
            if team.organization_id == organization_id
            and (team.id, user_id) in self._who.team_members
        ]
