"""The in-memory twins of `SqlTeamStore` and `SqlGrantStore`."""

from sluice.auth.model import Grant, NamedGrant, Team, TeamMember
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TeamId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.testing.memory import reading, writing
from sluice.testing.memory_members import Who


class MemoryTeamStore:
    """`TeamStore` over dicts."""

    who: Who

    async def add_team(self, tx: Tx, team: Team) -> None:
        """Keep a new team."""
        writing(tx)
        self._put_team(team)

    async def get_team(self, tx: Tx, team_id: TeamId) -> Team | None:
        """The team with this id."""
        reading(tx)
        return self.who.teams.get(team_id)

    async def list_teams(self, tx: Tx, organization_id: OrganizationId) -> list[Team]:
        """An organization's teams by name."""
        reading(tx)
        found = [
            team
            for team in self.who.teams.values()
            if team.organization_id == organization_id
        ]
        return sorted(found, key=lambda team: team.name)

    async def save_team(self, tx: Tx, team: Team) -> None:
        """Change a team."""
        writing(tx)
        self._put_team(team)

    async def delete_team(self, tx: Tx, team_id: TeamId) -> None:
        """Delete a team with its members' places in it and its grants."""
        writing(tx)
        for key, grant in list(self.who.grants.items()):
            if grant.team_id == team_id:
                del self.who.grants[key]
        for place in list(self.who.team_members):
            if place[0] == team_id:
                del self.who.team_members[place]
        self.who.teams.pop(team_id, None)

    async def list_team_members(self, tx: Tx, team_id: TeamId) -> list[TeamMember]:
        """The users in a team by name."""
        reading(tx)
        found = [
            TeamMember(self.who.users[user_id], by_sso)
            for (of_team, user_id), by_sso in self.who.team_members.items()
            if of_team == team_id
        ]
        return sorted(found, key=lambda member: member.user.name)

    async def put_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId, *, by_sso: bool
    ) -> None:
        """Put a user into a team, or change who put them there."""
        writing(tx)
        self.who.team_members[team_id, user_id] = by_sso

    async def remove_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId
    ) -> bool:
        """Take a user out of a team; False where they were not in it."""
        writing(tx)
        return self.who.team_members.pop((team_id, user_id), None) is not None

    def _put_team(self, team: Team) -> None:
        for known in self.who.teams.values():
            if known.id != team.id and (known.organization_id, known.name) == (
                team.organization_id,
                team.name,
            ):
                raise ConflictError(
                    f"A team {team.name} exists already; choose another name."
                )
        self.who.teams[team.id] = team


class MemoryGrantStore:
    """`GrantStore` over dicts."""

    who: Who

    async def list_grants(self, tx: Tx, workspace_id: WorkspaceId) -> list[NamedGrant]:
        """The grants of a workspace by name, those of teams first."""
        reading(tx)
        found = [
            NamedGrant(grant, self._name(grant))
            for grant in self.who.grants.values()
            if grant.workspace_id == workspace_id
        ]
        return sorted(found, key=lambda one: (one.grant.team_id is None, one.name))

    async def put_grant(self, tx: Tx, grant: Grant) -> None:
        """Give a level, in place of the one that the team or the user had there."""
        writing(tx)
        subject = grant.team_id or grant.user_id
        if subject is None:
            raise ValueError("a grant for nobody")
        self.who.grants[grant.workspace_id, subject] = grant

    async def remove_grant(
        self, tx: Tx, workspace_id: WorkspaceId, subject_id: TeamId | UserId
    ) -> bool:
        """Take a team's or a user's level away; False where there was none."""
        writing(tx)
        return self.who.grants.pop((workspace_id, subject_id), None) is not None

    async def clear_grants(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Delete all grants of a workspace."""
        writing(tx)
        for key in list(self.who.grants):
            if key[0] == workspace_id:
                del self.who.grants[key]

    def _name(self, grant: Grant) -> str:
        if grant.team_id is not None:
            return self.who.teams[grant.team_id].name
        if grant.user_id is not None:
            return self.who.users[grant.user_id].name
        raise ValueError("a grant for nobody")
