"""Pools and agents in dicts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sluice.agents.model import Agent, Pool
from sluice.agents.presence import claim_facts, pool_facts
from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.tasks.matching import ClaimFacts
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
        self._refuse_taken(pool)
        self._pools[pool.id] = pool

    async def get_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool with this id."""
        reading(tx)
        return self._pools.get(pool_id)

    async def hold_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool; transactions run one after the other anyway."""
        writing(tx)
        return self._pools.get(pool_id)

    async def save_pool(self, tx: Tx, pool: Pool) -> None:
        """Store changed rules."""
        writing(tx)
        self._refuse_taken(pool)
        self._pools[pool.id] = pool

    async def delete_pool(self, tx: Tx, pool_id: PoolId) -> None:
        """Remove a pool with its agents (what else names it, nobody here can know)."""
        writing(tx)
        for agent in await self.agents_of(tx, pool_id):
            del self._agents[agent.id]
        self._pools.pop(pool_id, None)

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

    async def hold_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent; transactions run one after the other anyway."""
        writing(tx)
        return self._agents.get(agent_id)

    async def delete_agent(self, tx: Tx, agent_id: AgentId) -> None:
        """Forget an agent."""
        writing(tx)
        self._agents.pop(agent_id, None)

    async def agents_of(
        self, tx: Tx, pool_id: PoolId, name: str | None = None
    ) -> list[Agent]:
        """A pool's agents, those heard of last first; only those of this name."""
        reading(tx)
        rows = [
            row
            for row in self._agents.values()
            if row.pool_id == pool_id and name in {None, row.name}
        ]
        by_id = sorted(rows, key=lambda row: row.id)
        return sorted(by_id, key=lambda row: row.last_seen_at, reverse=True)

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name, without what their loops are doing."""
        reading(tx)
        pools = {pool.id for pool in self._of(organization_id)}
        rows = [
            replace(row, loops={})
            for row in self._agents.values()
            if row.pool_id in pools
        ]
        return sorted(rows, key=lambda row: (row.name, row.id))

    async def pools(
        self, tx: Tx, organization_id: OrganizationId, since: datetime
    ) -> list[PoolFacts]:
        """An organization's pools, with their agents that were heard of since then."""
        found = await self.list_agents(tx, organization_id)
        return [
            pool_facts(pool, found, since)
            for pool in await self.list_pools(tx, organization_id)
        ]

    async def pool_labels(
        self, tx: Tx, pool_ids: Collection[PoolId]
    ) -> dict[PoolId, Mapping[str, str]]:
        """Labels of pools; those unknown are left out."""
        reading(tx)
        return {
            pool.id: pool.labels for pool in self._pools.values() if pool.id in pool_ids
        }

    async def claim_facts(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, ClaimFacts]:
        """What a claim needs of agents; transactions run one at a time, so they are kept."""
        writing(tx)
        return {
            agent.id: claim_facts(agent, self._pools[agent.pool_id])
            for agent in self._agents.values()
            if agent.id in agent_ids
        }

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        reading(tx)
        known = (self._agents.get(agent_id) for agent_id in agent_ids)
        return {agent.id: agent.name for agent in known if agent}

    def _refuse_taken(self, pool: Pool) -> None:
        for row in self._of(pool.organization_id):
            if row.name == pool.name and row.id != pool.id:
                raise ConflictError(
                    f"There is a pool named {pool.name} already; take another name."
                )

    def _of(self, organization_id: OrganizationId) -> list[Pool]:
        return [
            row
            for row in self._pools.values()
            if row.organization_id == organization_id
        ]
