"""Grants of workspaces in SQL."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from sluice.auth.model import Grant, NamedGrant, WorkspaceLevel
from sluice.auth.tables import grants, teams, users
from sluice.base.ids import OrganizationId, TeamId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlGrantStore:
    """`GrantStore` on SQLite and PostgreSQL."""

    async def list_grants(self, tx: Tx, workspace_id: WorkspaceId) -> list[NamedGrant]:
        """The grants of a workspace by name, those of teams first."""
        of_teams = (
            select(grants, teams.c.name)
            .join(teams, teams.c.id == grants.c.team_id)
            .where(grants.c.workspace_id == workspace_id)
            .order_by(teams.c.name)
        )
        of_users = (
            select(grants, users.c.name)
            .join(users, users.c.id == grants.c.user_id)
            .where(grants.c.workspace_id == workspace_id)
            .order_by(users.c.name)
        )
        found = []
        for query in (of_teams, of_users):
            rows = await connection_of(tx).execute(query)
            found += [NamedGrant(_grant(row), row.name) for row in rows]
        return found

    async def put_grant(self, tx: Tx, grant: Grant) -> None:
        """Give a level, in place of the one that the team or the user had there."""
        subject = grant.team_id or grant.user_id
        changed = await connection_of(tx).execute(
            update(grants)
            .where(
                grants.c.workspace_id == grant.workspace_id,
                grants.c.subject_id == subject,
            )
            .values(level=grant.level.value)
        )
        if changed.rowcount == 0:
            await connection_of(tx).execute(
                insert(grants).values(
                    workspace_id=grant.workspace_id,
                    subject_id=subject,
                    organization_id=grant.organization_id,
                    team_id=grant.team_id,
                    user_id=grant.user_id,
                    level=grant.level.value,
                )
            )

    async def remove_grant(
        self, tx: Tx, workspace_id: WorkspaceId, subject_id: TeamId | UserId
    ) -> bool:
        """Take a team's or a user's level away; False where there was none."""
        statement = delete(grants).where(
            grants.c.workspace_id == workspace_id, grants.c.subject_id == subject_id
        )
        return (await connection_of(tx).execute(statement)).rowcount == 1

    async def clear_grants(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Delete all grants of a workspace."""
        statement = delete(grants).where(grants.c.workspace_id == workspace_id)
        await connection_of(tx).execute(statement)


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        organization_id=OrganizationId(row.organization_id),
        workspace_id=WorkspaceId(row.workspace_id),
        level=WorkspaceLevel(row.level),
        team_id=None if row.team_id is None else TeamId(row.team_id),
        user_id=None if row.user_id is None else UserId(row.user_id),
    )
