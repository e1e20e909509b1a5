"""What a user is at a place, in SQL."""

from sqlalchemy import select, union_all

from sluice.auth.model import (
    OrganizationPermission,
    Place,
    Role,
    Standing,
    WorkspaceLevel,
)
from sluice.auth.tables import grants, memberships, team_members, teams
from sluice.base.ids import OrganizationId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlAccessStore:
    """`AccessStore` on SQLite and PostgreSQL."""

    async def standing(self, tx: Tx, user_id: UserId, place: Place) -> Standing:
        """What a user is at a place."""
        owner = place.organization_id
        if owner is None:
            return Standing()
        connection = connection_of(tx)
        role = await connection.scalar(
            select(memberships.c.role).where(
                memberships.c.organization_id == owner,
                memberships.c.user_id == user_id,
            )
        )
        if role is None:
            return Standing()
        permissions: set[OrganizationPermission] = set()
        levels: list[WorkspaceLevel] = []
        own_teams = []
        for team in await connection.execute(
            select(teams.c.id, teams.c.permissions, teams.c.level)
            .join(team_members, team_members.c.team_id == teams.c.id)
            .where(teams.c.organization_id == owner, team_members.c.user_id == user_id)
        ):
            own_teams.append(team.id)
            permissions |= {OrganizationPermission(name) for name in team.permissions}
            if team.level is not None:
                levels.append(WorkspaceLevel(team.level))
        if place.workspace_id is not None:
            found = await connection.scalars(
                select(grants.c.level).where(
                    grants.c.workspace_id == place.workspace_id,
                    grants.c.organization_id == owner,
                    grants.c.subject_id.in_([user_id, *own_teams]),
                )
            )
            levels += [WorkspaceLevel(level) for level in found]
        return Standing(
            role=Role(role),
            permissions=frozenset(permissions),
            level=max(levels, key=lambda level: level.rank, default=None),
        )

    async def granted_workspaces(
        self, tx: Tx, user_id: UserId, organization_id: OrganizationId
    ) -> frozenset[WorkspaceId]:
        """The workspaces in which a user or one of their teams has a grant."""
        of_teams = (
            select(grants.c.workspace_id)
            .join(team_members, team_members.c.team_id == grants.c.team_id)
            .where(
                team_members.c.user_id == user_id,
                grants.c.organization_id == organization_id,
            )
        )
        own = select(grants.c.workspace_id).where(
            grants.c.user_id == user_id, grants.c.organization_id == organization_id
        )
        rows = await connection_of(tx).scalars(union_all(of_teams, own))
        return frozenset(WorkspaceId(found) for found in rows)

    async def organizations_of(
        self, tx: Tx, user_id: UserId
    ) -> frozenset[OrganizationId]:
        """The organizations of which a user is a member."""
        rows = await connection_of(tx).scalars(
            select(memberships.c.organization_id).where(
                memberships.c.user_id == user_id
            )
        )
        return frozenset(OrganizationId(found) for found in rows)
