"""Credentials, users and what they are, many at once, in SQL."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from sqlalchemy import Column, Row, Select, select

from sluice.auth.live_ports import WhoWhere
from sluice.auth.model import (
    OrganizationPermission,
    Place,
    Role,
    Standing,
    StoredToken,
    User,
    WorkspaceLevel,
)
from sluice.auth.rows import token_of, user_of
from sluice.auth.tables import (
    grants,
    memberships,
    team_members,
    teams,
    tokens,
    users,
)
from sluice.base.ids import TokenId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of

_AT_ONCE = 500
Id = TypeVar("Id", bound=str)


class SqlLiveStore:
    """`LiveStore` on SQLite and PostgreSQL."""

    async def credentials(
        self, tx: Tx, ids: Collection[TokenId]
    ) -> dict[TokenId, StoredToken]:
        """The tokens with these ids."""
        rows = await _all(tx, select(tokens), tokens.c.id, ids)
        return {TokenId(row.id): token_of(row) for row in rows}

    async def users(self, tx: Tx, ids: Collection[UserId]) -> dict[UserId, User]:
        """The users with these ids."""
        rows = await _all(tx, select(users), users.c.id, ids)
        return {UserId(row.id): user_of(row) for row in rows}

    async def standings(
        self, tx: Tx, wanted: Collection[WhoWhere]
    ) -> dict[WhoWhere, Standing]:
        """What each of these users is at each of these places."""
        people = {user_id for user_id, _ in wanted}
        within = {place.workspace_id for _, place in wanted if place.workspace_id}
        known = _Known()
        for row in await _all(tx, select(memberships), memberships.c.user_id, people):
            known.roles[row.user_id, row.organization_id] = Role(row.role)
        in_teams = select(
            team_members.c.user_id,
            teams.c.id,
            teams.c.organization_id,
            teams.c.permissions,
            teams.c.level,
        ).join(teams, teams.c.id == team_members.c.team_id)
        for row in await _all(tx, in_teams, team_members.c.user_id, people):
            known.teams[row.user_id, row.organization_id].append(row)
        for row in await _all(tx, select(grants), grants.c.workspace_id, within):
            known.grants[row.workspace_id, row.organization_id][row.subject_id] = (
                WorkspaceLevel(row.level)
            )
        return {(who, place): known.standing(who, place) for who, place in wanted}


class _Known:
    """The rows of all these users, by where they count."""

    def __init__(self) -> None:
        self.roles: dict[tuple[str, str], Role] = {}
        self.teams: defaultdict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
        self.grants: defaultdict[tuple[str, str], dict[str, WorkspaceLevel]] = (
            defaultdict(dict)
        )

    def standing(self, user_id: UserId, place: Place) -> Standing:
        """What one user is at one place, as `SqlAccessStore.standing` finds it."""
        owner = place.organization_id
        if owner is None or (user_id, owner) not in self.roles:
            return Standing()
        own = self.teams.get((user_id, owner), [])
        levels = [WorkspaceLevel(team.level) for team in own if team.level is not None]
        given = self.grants.get((place.workspace_id or "", owner), {})
        levels += [
            given[subject]
            for subject in (user_id, *(team.id for team in own))
            if subject in given
        ]
        return Standing(
            role=self.roles[user_id, owner],
            permissions=frozenset(
                OrganizationPermission(name)
                for team in own
                for name in team.permissions
            ),
            level=max(levels, key=lambda level: level.rank, default=None),
        )


async def _all(
    tx: Tx, query: Select[Any], column: Column[Any], ids: Collection[Id]
) -> list[Row[Any]]:
    """All rows whose ``column`` is one of ``ids``, some hundred ids a query."""
    found: list[Row[Any]] = []
    for part in _parts(sorted(ids)):
        found += await connection_of(tx).execute(query.where(column.in_(part)))
    return found


def _parts(ids: list[Id]) -> Iterator[list[Id]]:
    for at in range(0, len(ids), _AT_ONCE):
        yield ids[at : at + _AT_ONCE]
