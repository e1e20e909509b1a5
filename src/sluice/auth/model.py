"""Who is calling: frozen nouns for every kind of caller."""

from dataclasses import dataclass
from datetime import datetime

from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
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


Principal = UserPrincipal | PoolPrincipal | AgentPrincipal | TaskPrincipal
