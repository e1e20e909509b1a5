"""Who is calling: frozen nouns for every kind of caller."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sluice.auth.permissions import Permission
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    RunTaskResultId,
    TaskId,
    TeamId,
    TokenId,
    UserId,
    WorkspaceId,
)


@dataclass(frozen=True, slots=True)
class Organization:
    """Owns workspaces and pools."""

    id: OrganizationId
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a program that acts for one.

    Attributes:
        admin: whether the whole installation is theirs to administer.
        email: where they get mail, lower case; None where nobody said.
        disabled_at: since when none of their credentials opens anything.
    """

    id: UserId
    name: str
    admin: bool
    created_at: datetime
    email: str | None = None
    disabled_at: datetime | None = None


class WorkspaceLevel(StrEnum):
    """What somebody may do in a workspace; each level holds all before it."""

    READ = "read"
    PLAN = "plan"
    APPLY = "apply"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """The place in the order, from 0."""
        return list(WorkspaceLevel).index(self)


class Role(StrEnum):
    """What a user is in an organization: an owner may do everything in it."""

    OWNER = "owner"
    MEMBER = "member"


class OrganizationPermission(StrEnum):
    """What a team may do in its organization beside its workspaces.

    `MANAGE_WORKSPACES` makes workspaces and administers all of them; `RUN_SCRIPTS` starts
    and cancels scripts. The others are what they say.
    """

    MANAGE_WORKSPACES = "manage_workspaces"
    MANAGE_RUN_TASKS = "manage_run_tasks"
    MANAGE_POLICIES = "manage_policies"
    MANAGE_POOLS = "manage_pools"
    MANAGE_SCRIPTS = "manage_scripts"
    RUN_SCRIPTS = "run_scripts"
    READ_AUDIT = "read_audit"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is done: in a workspace, an organization, or the installation."""

    organization_id: OrganizationId | None = None
    workspace_id: WorkspaceId | None = None


SITE = Place()


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user is at a place, gathered from membership, teams and grants.

    Attributes:
        role: in the place's organization; None for who is no member of it.
        permissions: those of all their teams there.
        level: the highest in the place's workspace; None without one.
    """

    role: Role | None = None
    permissions: frozenset[OrganizationPermission] = frozenset()
    level: WorkspaceLevel | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """How far a credential is narrowed: never wider than its user.

    Attributes:
        level: at most this; `ADMIN` narrows nothing.
        organization_id: in this organization alone; None in all.
        workspace_ids: in these workspaces alone; None in all.
    """

    level: WorkspaceLevel = WorkspaceLevel.ADMIN
    organization_id: OrganizationId | None = None
    workspace_ids: frozenset[WorkspaceId] | None = None


UNLIMITED = Scope()


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in an organization."""

    organization_id: OrganizationId
    user_id: UserId
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Team:
    """Users of one organization who may do the same.

    Attributes:
        permissions: in the organization.
        level: in all of its workspaces, those to come too; None gives none.
        sso_group: a group of the identity provider whose members are put into this team
            when they sign in, and taken out when they are no longer in the group.
    """

    id: TeamId
    organization_id: OrganizationId
    name: str
    permissions: frozenset[OrganizationPermission]
    level: WorkspaceLevel | None
    sso_group: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """A level in one workspace, given to a team or to a user (exactly one of the two)."""

    organization_id: OrganizationId
    workspace_id: WorkspaceId
    level: WorkspaceLevel
    team_id: TeamId | None = None
    user_id: UserId | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A user of an organization, with what they are in it."""

    user: User
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TeamMember:
    """A user of a team; with ``by_sso`` the identity provider put them there."""

    user: User
    by_sso: bool


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant with the name of the team or the user that has it."""

    grant: Grant
    name: str


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """A user, by API token, session, ticket or short-lived JWT.

    Attributes:
        credential_id: the stored token that opened this, or of which it was made.
        scope: how far that is narrowed.
        permissions: what the user may do at the place of the request, as
            `auth/access.py` found; empty until it has.
        until: when the credential ends by itself; None where it does not.
    """

    user_id: UserId
    name: str
    admin: bool
    credential_id: TokenId | None = None
    scope: Scope = UNLIMITED
    permissions: frozenset[Permission] = field(default=frozenset(), compare=False)
    until: datetime | None = field(default=None, compare=False)

    @property
    def actor(self) -> str:
        """How logs and records name this caller."""
        return self.name


@dataclass(frozen=True, slots=True)
class PoolPrincipal:
    """Somebody with a pool's token: may register agents in that pool, nothing else."""

    pool_id: PoolId
    organization_id: OrganizationId
    token_id: TokenId

    @property
    def actor(self) -> str:
        """How logs and records name this caller."""
        return f"pool {self.pool_id}"


@dataclass(frozen=True, slots=True)
class AgentPrincipal:
    """A registered agent, by its JWT."""

    agent_id: AgentId
    pool_id: PoolId
    organization_id: OrganizationId

    @property
    def actor(self) -> str:
        """How logs and records name this caller."""
        return f"agent {self.agent_id}"


@dataclass(frozen=True, slots=True)
class TaskPrincipal:
    """A phase, by its task token: reads and writes that task alone while it lasts."""

    task_id: TaskId
    lease_id: LeaseId
    organization_id: OrganizationId

    @property
    def actor(self) -> str:
        """How logs and records name this caller."""
        return f"task {self.task_id}"


@dataclass(frozen=True, slots=True)
class ResultPrincipal:
    """A service that answers at a gate, by the token of one result: reads that task alone."""

    result_id: RunTaskResultId
    task_id: TaskId
    organization_id: OrganizationId

    @property
    def actor(self) -> str:
        """How logs and records name this caller."""
        return f"run task result {self.result_id}"


Principal = (
    UserPrincipal | PoolPrincipal | AgentPrincipal | TaskPrincipal | ResultPrincipal
)


class TokenKind(StrEnum):
    """What an opaque token stands for; its prefix says so (`auth/tokens.py`)."""

    USER = "user"
    POOL = "pool"
    SETUP = "setup"
    SESSION = "session"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """An opaque token as it is kept: its hash, never the secret.

    ``subject_id`` is the user or the pool; empty for a setup token. ``parent_id`` is the
    credential that a ticket was made with: it ends with that.
    """

    id: TokenId
    kind: TokenKind
    subject_id: str
    organization_id: OrganizationId | None
    name: str
    hash: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    scope: Scope = UNLIMITED
    parent_id: TokenId | None = None

    def valid_at(self, now: datetime) -> bool:
        """Whether the token opens anything at ``now``."""
        return self.revoked_at is None and (
            self.expires_at is None or now < self.expires_at
        )
