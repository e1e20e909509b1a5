"""Pools and agents in dicts."""

from collections.abc import Sequence
from datetime import datetime

from sluice.agents.model import Agent, Pool
from sluice.agents.presence import counts
from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.tasks.queue import PoolFacts
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryAgentStore:
    """The in-memory twin of `SqlAgentStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._pools = transactions.table(dict[PoolId, Pool]())
        self._agents = transactions.table(dict[AgentId, Agent]())

    async def add_pool(self, tx: Tx, pool: Pool) -> None:
        """Keep a new pool."""
        writing(tx)
        names = {row.name for row in self._of(pool.organization_id)}
        if pool.name in names:
            raise ConflictError(
                f"There is a pool named {pool.name} already; take another name."
            )
        self._pools[pool.id] = pool

    async def get_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool with this id."""
        reading(tx)
        return self._pools.get(pool_id)

    async def list_pools(self, tx: Tx, organization_id: OrganizationId) -> list[Pool]:
        """An organization's pools by name."""
        reading(tx)
        return sorted(self._of(organization_id), key=lambda row: row.name)

    async def pool_organization(self, tx: Tx, pool_id: PoolId) -> OrganizationId | None:
        """Whose pool it is; None where there is no such pool."""
        reading(tx)
        pool = self._pools.get(pool_id)
        return pool.organization_id if pool else None

    async def put_agent(self, tx: Tx, agent: Agent) -> None:
        """Store an agent, new or changed."""
        writing(tx)
        self._agents[agent.id] = agent

    async def get_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent with this id."""
        reading(tx)
        return self._agents.get(agent_id)

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name."""
        reading(tx)
        pools = {pool.id for pool in self._of(organization_id)}
        rows = [row for row in self._agents.values() if row.pool_id in pools]
        return sorted(rows, key=lambda row: (row.name, row.id))

    async def pool_facts(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        pool_id: PoolId | None,
        since: datetime,
    ) -> PoolFacts:
        """How many agents were heard of since then, and how many have room."""
        rows = await self.list_agents(tx, organization_id)
        if pool_id is not None:
            rows = [row for row in rows if row.pool_id == pool_id]
        pool = None if pool_id is None else self._pools.get(pool_id)
        alive, free = counts(rows, since)
        return PoolFacts(pool.name if pool else pool_id, alive, free)

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        reading(tx)
        known = (self._agents.get(agent_id) for agent_id in agent_ids)
        return {agent.id: agent.name for agent in known if agent}

    def _of(self, organization_id: OrganizationId) -> list[Pool]:
        return [
            row
            for row in self._pools.values()
            if row.organization_id == organization_id
        ]
