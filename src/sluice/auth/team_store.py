"""Teams in SQL."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from sluice.auth.model import OrganizationPermission, Team, TeamMember, WorkspaceLevel
from sluice.auth.rows import user_of, write_unique
from sluice.auth.tables import grants, team_members, teams, users
from sluice.base.ids import OrganizationId, TeamId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlTeamStore:
    """`TeamStore` on SQLite and PostgreSQL."""

    async def add_team(self, tx: Tx, team: Team) -> None:
        """Keep a new team."""
        statement = insert(teams).values(
            id=team.id,
            organization_id=team.organization_id,
            created_at=team.created_at,
            **_values(team),
        )
        await write_unique(tx, statement, f"A team {team.name}")

    async def get_team(self, tx: Tx, team_id: TeamId) -> Team | None:
        """The team with this id."""
        query = select(teams).where(teams.c.id == team_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _team(row)

    async def list_teams(self, tx: Tx, organization_id: OrganizationId) -> list[Team]:
        """An organization's teams by name."""
        query = (
            select(teams)
            .where(teams.c.organization_id == organization_id)
            .order_by(teams.c.name)
        )
        return [_team(row) for row in await connection_of(tx).execute(query)]

    async def save_team(self, tx: Tx, team: Team) -> None:
        """Change a team."""
        statement = update(teams).where(teams.c.id == team.id).values(**_values(team))
        await write_unique(tx, statement, f"A team {team.name}")

    async def delete_team(self, tx: Tx, team_id: TeamId) -> None:
        """Delete a team with its members' places in it and its grants."""
        for statement in (
            delete(grants).where(grants.c.team_id == team_id),
            delete(team_members).where(team_members.c.team_id == team_id),
            delete(teams).where(teams.c.id == team_id),
        ):
            await connection_of(tx).execute(statement)

    async def list_team_members(self, tx: Tx, team_id: TeamId) -> list[TeamMember]:
        """The users in a team by name."""
        query = (
            select(users, team_members.c.by_sso)
            .join_from(users, team_members, users.c.id == team_members.c.user_id)
            .where(team_members.c.team_id == team_id)
            .order_by(users.c.name)
        )
        return [
            TeamMember(user_of(row), row.by_sso)
            for row in await connection_of(tx).execute(query)
        ]

    async def put_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId, *, by_sso: bool
    ) -> None:
        """Put a user into a team, or change who put them there."""
        changed = await connection_of(tx).execute(
            update(team_members)
            .where(team_members.c.team_id == team_id, team_members.c.user_id == user_id)
            .values(by_sso=by_sso)
        )
        if changed.rowcount == 0:
            await connection_of(tx).execute(
                insert(team_members).values(
                    team_id=team_id, user_id=user_id, by_sso=by_sso
                )
            )

    async def remove_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId
    ) -> bool:
        """Take a user out of a team; False where they were not in it."""
        statement = delete(team_members).where(
            team_members.c.team_id == team_id, team_members.c.user_id == user_id
        )
        return (await connection_of(tx).execute(statement)).rowcount == 1


def _values(team: Team) -> dict[str, Any]:
    return {
        "name": team.name,
        "permissions": sorted(item.value for item in team.permissions),
        "level": None if team.level is None else team.level.value,
        "sso_group": team.sso_group,
    }


def _team(row: Row[Any]) -> Team:
    return Team(
        id=TeamId(row.id),
        organization_id=OrganizationId(row.organization_id),
        name=row.name,
        permissions=frozenset(OrganizationPermission(name) for name in row.permissions),
        level=None if row.level is None else WorkspaceLevel(row.level),
        sso_group=row.sso_group,
        created_at=row.created_at,
    )
