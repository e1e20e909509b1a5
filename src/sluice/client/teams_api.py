"""Routes about who belongs where: members of organizations, teams, and grants of workspaces."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.people import Permissions
from sluice.wire.shapes.teams import (
    Grant,
    GrantInput,
    Member,
    MemberInput,
    MemberPatch,
    Team,
    TeamInput,
    TeamMember,
    TeamMemberInput,
    TeamPatch,
)


class MembersApi:
    """Members of organizations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization_id: str) -> list[Member]:
        """All members of an organization."""
        return many(Member, self._transport.send("GET", _members(organization_id)))

    def add(self, organization_id: str, body: MemberInput) -> Member:
        """Make a user a member."""
        path = _members(organization_id)
        return one(Member, self._transport.send("POST", path, body=body))

    def update(self, organization_id: str, user_id: str, body: MemberPatch) -> Member:
        """Change what a member is."""
        path = _members(organization_id, user_id)
        return one(Member, self._transport.send("PATCH", path, body=body))

    def remove(self, organization_id: str, user_id: str) -> None:
        """Take a user out of an organization and its teams, and their grants away."""
        self._transport.send("DELETE", _members(organization_id, user_id))


class TeamsApi:
    """Teams, and who is in them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def members(self, team_id: str) -> list[TeamMember]:
        """The users in a team."""
        path = api_path("teams", team_id, "members")
        return many(TeamMember, self._transport.send("GET", path))

    def list(self, organization_id: str) -> list[Team]:
        """An organization's teams."""
        path = api_path("organizations", organization_id, "teams")
        return many(Team, self._transport.send("GET", path))

    def create(self, organization_id: str, body: TeamInput) -> Team:
        """A new team."""
        path = api_path("organizations", organization_id, "teams")
        return one(Team, self._transport.send("POST", path, body=body))

    def get(self, team_id: str) -> Team:
        """The team with this id."""
        return one(Team, self._transport.send("GET", api_path("teams", team_id)))

    def update(self, team_id: str, body: TeamPatch) -> Team:
        """Change a team; what ``body`` does not set stays."""
        path = api_path("teams", team_id)
        return one(Team, self._transport.send("PATCH", path, body=body))

    def delete(self, team_id: str) -> None:
        """Delete a team and all that was granted to it."""
        self._transport.send("DELETE", api_path("teams", team_id))

    def add_member(self, team_id: str, body: TeamMemberInput) -> TeamMember:
        """Put a member of the organization into a team."""
        path = api_path("teams", team_id, "members")
        return one(TeamMember, self._transport.send("POST", path, body=body))

    def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a user out of a team."""
        self._transport.send("DELETE", api_path("teams", team_id, "members", user_id))


class GrantsApi:
    """What teams and users are granted in workspaces, and what the caller may do there."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, workspace_id: str) -> list[Grant]:
        """What is granted in a workspace."""
        return many(Grant, self._transport.send("GET", _access(workspace_id)))

    def permissions(self, workspace_id: str) -> Permissions:
        """What the caller may do in a workspace."""
        path = api_path("workspaces", workspace_id, "permissions")
        return one(Permissions, self._transport.send("GET", path))

    def give_team(self, workspace_id: str, team_id: str, body: GrantInput) -> Grant:
        """Give a team a level, in place of the one it had."""
        path = _access(workspace_id, "teams", team_id)
        return one(Grant, self._transport.send("PUT", path, body=body))

    def give_user(self, workspace_id: str, user_id: str, body: GrantInput) -> Grant:
        """Give a member a level, in place of the one they had."""
        path = _access(workspace_id, "users", user_id)
        return one(Grant, self._transport.send("PUT", path, body=body))

    def revoke_team(self, workspace_id: str, team_id: str) -> None:
        """Take away what a team was given."""
        self._transport.send("DELETE", _access(workspace_id, "teams", team_id))

    def revoke_user(self, workspace_id: str, user_id: str) -> None:
        """Take away what a user was given."""
        self._transport.send("DELETE", _access(workspace_id, "users", user_id))


def _members(organization_id: str, *more: str) -> str:
    return api_path("organizations", organization_id, "members", *more)


def _access(workspace_id: str, *more: str) -> str:
    return api_path("workspaces", workspace_id, "access", *more)
