"""What agents need: their own store, and tokens."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sluice.agents.model import Agent, Pool
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.tasks.matching import ClaimFacts
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

    async def hold_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool, kept from others' writes until the transaction ends."""
        ...

    async def save_pool(self, tx: Tx, pool: Pool) -> None:
        """Store changed rules.

        Raises:
            ConflictError: the organization has another pool of this name.
        """
        ...

    async def delete_pool(self, tx: Tx, pool_id: PoolId) -> None:
        """Remove a pool with its agents.

        Raises:
            ConflictError: something still names it.
        """
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

    async def hold_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent, kept from others' writes until the transaction ends."""
        ...

    async def delete_agent(self, tx: Tx, agent_id: AgentId) -> None:
        """Forget an agent."""
        ...

    async def agents_of(
        self, tx: Tx, pool_id: PoolId, name: str | None = None
    ) -> list[Agent]:
        """A pool's agents, those heard of last first; only those of this name."""
        ...

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name, without what their loops are doing."""
        ...

    async def pools(
        self, tx: Tx, organization_id: OrganizationId, since: datetime
    ) -> list[PoolFacts]:
        """An organization's pools, with their agents that were heard of since then."""
        ...

    async def pool_labels(
        self, tx: Tx, pool_ids: Collection[PoolId]
    ) -> dict[PoolId, Mapping[str, str]]:
        """Labels of pools; those unknown are left out."""
        ...

    async def claim_facts(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, ClaimFacts]:
        """What a claim needs of agents, kept from others' claims until the transaction ends.

        Those unknown are left out.
        """
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
