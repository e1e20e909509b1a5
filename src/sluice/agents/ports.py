"""What agents need: their own store, and tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sluice.agents.model import Agent, Pool
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.tasks.queue import PoolFacts


class AgentStore(Protocol):
    """Pools and their agents."""

    async def add_pool(self, tx: Tx, pool: Pool) -> None:
        """Keep a new pool.

        Raises:
            ConflictError: the organization has one of this name.
        """
        ...

    async def get_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool with this id."""
        ...

    async def list_pools(self, tx: Tx, organization_id: OrganizationId) -> list[Pool]:
        """An organization's pools by name."""
        ...

    async def pool_organization(self, tx: Tx, pool_id: PoolId) -> OrganizationId | None:
        """Whose pool it is; None where there is no such pool."""
        ...

    async def put_agent(self, tx: Tx, agent: Agent) -> None:
        """Store an agent, new or changed."""
        ...

    async def get_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent with this id."""
        ...

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name."""
        ...

    async def pool_facts(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        pool_id: PoolId | None,
        since: datetime,
    ) -> PoolFacts:
        """How many agents were heard of since then, and how many have room."""
        ...

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        ...


class AgentTokens(Protocol):
    """Issues the token of an agent (`auth.jwt.TokenIssuer`)."""

    def agent(
        self, agent_id: AgentId, pool_id: PoolId, org_id: OrganizationId, ttl: float
    ) -> tuple[str, datetime]:
        """A token with which an agent asks for work."""
        ...
