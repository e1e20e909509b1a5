"""Who is calling: frozen nouns for every kind of caller."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    RunTaskResultId,
    TaskId,
    TokenId,
    UserId,
)


@dataclass(frozen=True, slots=True)
class Organization:
    """Owns workspaces and pools."""

    id: OrganizationId
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a program that acts for one."""

    id: UserId
    name: str
    admin: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """A user, by API token or by a short-lived JWT."""

    user_id: UserId
    name: str
    admin: bool

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


@dataclass(frozen=True, slots=True)
class StoredToken:
    """An opaque token as it is kept: its hash, never the secret.

    ``subject_id`` is the user or the pool; empty for a setup token.
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

    def valid_at(self, now: datetime) -> bool:
        """Whether the token opens anything at ``now``."""
        return self.revoked_at is None and (
            self.expires_at is None or now < self.expires_at
        )
