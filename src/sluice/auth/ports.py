"""What the rules about callers need from a store, and from the tasks."""

from datetime import datetime
from typing import Protocol

from sluice.auth.model import (
    Grant,
    Member,
    Membership,
    NamedGrant,
    Organization,
    Place,
    Standing,
    StoredToken,
    Team,
    TeamMember,
    TokenKind,
    User,
)
from sluice.base.ids import (
    LeaseId,
    OrganizationId,
    RunTaskResultId,
    TaskId,
    TeamId,
    TokenId,
    UserId,
    WorkspaceId,
)
from sluice.base.transactions import Tx


class TaskLeases(Protocol):
    """Knows whether a task token's lease still counts."""

    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        """Whether the lease may still speak for the task.

        True for the present lease; true for the last finished one until the task has
        ended, so that a repeated `finish` is answered and not refused.
        """
        ...


class ResultTokens(Protocol):
    """Knows whether the token of a run task's result still opens anything."""

    async def is_open(self, result_id: RunTaskResultId, token_hash: str) -> bool:
        """Whether the result waits for its service, and this is its token."""
        ...


class NoResults:
    """`ResultTokens` where nothing answers at gates: no token opens anything."""

    async def is_open(self, result_id: RunTaskResultId, token_hash: str) -> bool:
        """Never."""
        return False


class WorkspaceNames(Protocol):
    """Knows the workspaces that a credential's scope may name."""

    async def find(
        self, tx: Tx, organization_id: OrganizationId, id_or_name: str
    ) -> WorkspaceId | None:
        """The organization's workspace with this id or name."""
        ...


class NoWorkspaces:
    """`WorkspaceNames` where there are none."""

    async def find(
        self, tx: Tx, organization_id: OrganizationId, id_or_name: str
    ) -> WorkspaceId | None:
        """None."""
        return None


class MemberStore(Protocol):
    """Who belongs to which organization."""

    async def hold_organization(self, tx: Tx, organization_id: OrganizationId) -> None:
        """Let nobody else change who belongs where in it until ``tx`` ends."""
        ...

    async def add_member(self, tx: Tx, membership: Membership) -> None:
        """Keep a new member; ConflictError where they are one already."""
        ...

    async def get_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> Member | None:
        """A user as a member of an organization."""
        ...

    async def list_members(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Member]:
        """All members by name."""
        ...

    async def memberships_of(self, tx: Tx, user_id: UserId) -> list[Membership]:
        """What a user is where, by organization."""
        ...

    async def set_role(self, tx: Tx, membership: Membership) -> None:
        """Change a member's role."""
        ...

    async def remove_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> None:
        """Take a user out of an organization, of its teams, and their grants there away."""
        ...

    async def has_other_owner(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> bool:
        """Whether somebody else owns the organization who is not disabled."""
        ...


class TeamStore(Protocol):
    """Teams, and who is in them."""

    async def add_team(self, tx: Tx, team: Team) -> None:
        """Keep a new team; ConflictError where the organization has one of this name."""
        ...

    async def get_team(self, tx: Tx, team_id: TeamId) -> Team | None:
        """The team with this id."""
        ...

    async def list_teams(self, tx: Tx, organization_id: OrganizationId) -> list[Team]:
        """An organization's teams by name."""
        ...

    async def save_team(self, tx: Tx, team: Team) -> None:
        """Change a team; ConflictError where another one has the name."""
        ...

    async def delete_team(self, tx: Tx, team_id: TeamId) -> None:
        """Delete a team with its members' places in it and its grants."""
        ...

    async def list_team_members(self, tx: Tx, team_id: TeamId) -> list[TeamMember]:
        """The users in a team by name."""
        ...

    async def put_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId, *, by_sso: bool
    ) -> None:
        """Put a user into a team, or change who put them there."""
        ...

    async def remove_team_member(
        self, tx: Tx, team_id: TeamId, user_id: UserId
    ) -> bool:
        """Take a user out of a team; False where they were not in it."""
        ...


class GrantStore(Protocol):
    """Levels in single workspaces, given to teams and to users."""

    async def list_grants(self, tx: Tx, workspace_id: WorkspaceId) -> list[NamedGrant]:
        """The grants of a workspace by name, those of teams first."""
        ...

    async def put_grant(self, tx: Tx, grant: Grant) -> None:
        """Give a level, in place of the one that the team or the user had there."""
        ...

    async def remove_grant(
        self, tx: Tx, workspace_id: WorkspaceId, subject_id: TeamId | UserId
    ) -> bool:
        """Take a team's or a user's level away; False where there was none."""
        ...

    async def clear_grants(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Delete all grants of a workspace."""
        ...


class AuthStore(MemberStore, TeamStore, GrantStore, Protocol):
    """Users, organizations and opaque tokens, and what belongs together."""

    async def add_organization(self, tx: Tx, organization: Organization) -> None:
        """Keep a new organization; ConflictError where the name is taken."""
        ...

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        ...

    async def find_organization(self, tx: Tx, name: str) -> Organization | None:
        """The organization with this name."""
        ...

    async def list_organizations(self, tx: Tx) -> list[Organization]:
        """All organizations by name."""
        ...

    async def rename_organization(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> None:
        """Change an organization's name; ConflictError where it is taken."""
        ...

    async def add_user(self, tx: Tx, user: User) -> None:
        """Keep a new user; ConflictError where the name or the address is taken."""
        ...

    async def hold_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id, whom nobody else changes until ``tx`` ends."""
        ...

    async def find_user(self, tx: Tx, name: str) -> User | None:
        """The user with this name, or with this e-mail address in lower case."""
        ...

    async def save_user(self, tx: Tx, user: User) -> None:
        """Change a user; ConflictError where the name or the address is taken."""
        ...

    async def delete_user(self, tx: Tx, user_id: UserId) -> None:
        """Delete a user with all that is theirs: memberships, grants, tokens, identities."""
        ...

    async def has_history(self, tx: Tx, user: User) -> bool:
        """Whether a user has ever signed in, or the audit log says that they did anything."""
        ...

    async def has_other_admin(self, tx: Tx, user_id: UserId) -> bool:
        """Whether there is another administrator who is not disabled.

        Until ``tx`` ends nobody else can take that away. To be asked before `hold_user`,
        so that two callers never wait for each other.
        """
        ...

    async def get_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id."""
        ...

    async def list_users(self, tx: Tx) -> list[User]:
        """All users by name."""
        ...

    async def count_users(self, tx: Tx) -> int:
        """How many users there are."""
        ...

    async def add_token(self, tx: Tx, token: StoredToken) -> None:
        """Keep a new token."""
        ...

    async def get_token(self, tx: Tx, token_id: TokenId) -> StoredToken | None:
        """The token with this id, revoked or not."""
        ...

    async def find_token(self, tx: Tx, token_hash: str) -> StoredToken | None:
        """The token with this hash, revoked or not."""
        ...

    async def list_tokens(
        self, tx: Tx, kind: TokenKind, subject_id: str
    ) -> list[StoredToken]:
        """The tokens of a user or a pool that are not revoked, oldest first."""
        ...

    async def revoke_token(self, tx: Tx, token_id: TokenId, at: datetime) -> bool:
        """End a token; False where it had ended before, so that one caller wins."""
        ...

    async def touch_token(
        self, tx: Tx, token_id: TokenId, at: datetime, *, unless_since: datetime
    ) -> None:
        """Note a use, unless one after ``unless_since`` is noted already."""
        ...


class AccessStore(Protocol):
    """What users are at places, from memberships, teams and grants."""

    async def standing(self, tx: Tx, user_id: UserId, place: Place) -> Standing:
        """What a user is at a place; nothing at the installation as a whole."""
        ...

    async def granted_workspaces(
        self, tx: Tx, user_id: UserId, organization_id: OrganizationId
    ) -> frozenset[WorkspaceId]:
        """The workspaces in which a user or one of their teams has a grant."""
        ...

    async def organizations_of(
        self, tx: Tx, user_id: UserId
    ) -> frozenset[OrganizationId]:
        """The organizations of which a user is a member."""
        ...
