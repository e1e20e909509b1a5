"""Pools and agents in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from sluice.agents.model import Agent, Pool
from sluice.agents.presence import counts
from sluice.agents.tables import agents, pools
from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.tasks.queue import PoolFacts


class SqlAgentStore:
    """Pools and agents on SQLite and PostgreSQL."""

    async def add_pool(self, tx: Tx, pool: Pool) -> None:
        """Keep a new pool."""
        try:
            await connection_of(tx).execute(
                pools.insert().values(
                    id=pool.id,
                    organization_id=pool.organization_id,
                    name=pool.name,
                    labels=dict(pool.labels),
                    max_plan_concurrency=pool.max_plan_concurrency,
                    allow_apply_concurrent=pool.allow_apply_concurrent,
                    created_at=pool.created_at,
                )
            )
        except IntegrityError as error:
            raise ConflictError(
                f"There is a pool named {pool.name} already; take another name."
            ) from error

    async def get_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool with this id."""
        rows = await connection_of(tx).execute(
            select(pools).where(pools.c.id == pool_id)
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _pool(row)

    async def list_pools(self, tx: Tx, organization_id: OrganizationId) -> list[Pool]:
        """An organization's pools by name."""
        rows = await connection_of(tx).execute(
            select(pools)
            .where(pools.c.organization_id == organization_id)
            .order_by(pools.c.name)
        )
        return [_pool(row) for row in rows.mappings()]

    async def pool_organization(self, tx: Tx, pool_id: PoolId) -> OrganizationId | None:
        """Whose pool it is; None where there is no such pool."""
        found = await connection_of(tx).scalar(
            select(pools.c.organization_id).where(pools.c.id == pool_id)
        )
        return None if found is None else OrganizationId(found)

    async def put_agent(self, tx: Tx, agent: Agent) -> None:
        """Store an agent, new or changed."""
        connection = connection_of(tx)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        values = _agent_values(agent)
        await connection.execute(
            dialect.insert(agents)
            .values(**values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def get_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent with this id."""
        rows = await connection_of(tx).execute(
            select(agents).where(agents.c.id == agent_id)
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _agent(row)

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name."""
        return await self._agents(tx, organization_id, None)

    async def _agents(
        self, tx: Tx, organization_id: OrganizationId, pool_id: PoolId | None
    ) -> list[Agent]:
        query = (
            select(agents)
            .join(pools, pools.c.id == agents.c.pool_id)
            .where(pools.c.organization_id == organization_id)
            .order_by(agents.c.name, agents.c.id)
        )
        if pool_id is not None:
            query = query.where(pools.c.id == pool_id)
        rows = await connection_of(tx).execute(query)
        return [_agent(row) for row in rows.mappings()]

    async def pool_facts(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        pool_id: PoolId | None,
        since: datetime,
    ) -> PoolFacts:
        """How many agents were heard of since then, and how many have room."""
        pool = None if pool_id is None else await self.get_pool(tx, pool_id)
        alive, free = counts(await self._agents(tx, organization_id, pool_id), since)
        return PoolFacts(pool.name if pool else pool_id, alive, free)

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        rows = await connection_of(tx).execute(
            select(agents.c.id, agents.c.name).where(agents.c.id.in_(agent_ids))
        )
        return {AgentId(row.id): row.name for row in rows}


def _pool(row: RowMapping) -> Pool:
    return Pool(
        id=row["id"],
        organization_id=row["organization_id"],
        name=row["name"],
        created_at=row["created_at"],
        labels=row["labels"],
        max_plan_concurrency=row["max_plan_concurrency"],
        allow_apply_concurrent=row["allow_apply_concurrent"],
    )


def _agent(row: RowMapping) -> Agent:
    return Agent(
        id=row["id"],
        pool_id=row["pool_id"],
        name=row["name"],
        version=row["version"],
        registered_at=row["registered_at"],
        last_seen_at=row["last_seen_at"],
        labels=row["labels"],
        capabilities=tuple(row["capabilities"]),
        busy=row["busy"],
        draining=row["draining"],
        plan_tasks_running=row["plan_tasks_running"],
        plan_task_limit=row["plan_task_limit"],
        apply_task_running=row["apply_task_running"],
        current_tasks=tuple(row["current_tasks"]),
        cpu_usage=row["cpu_usage"],
        mem_usage=row["mem_usage"],
    )


def _agent_values(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "pool_id": agent.pool_id,
        "name": agent.name,
        "version": agent.version,
        "labels": dict(agent.labels),
        "capabilities": list(agent.capabilities),
        "busy": agent.busy,
        "draining": agent.draining,
        "plan_tasks_running": agent.plan_tasks_running,
        "plan_task_limit": agent.plan_task_limit,
        "apply_task_running": agent.apply_task_running,
        "current_tasks": list(agent.current_tasks),
        "cpu_usage": agent.cpu_usage,
        "mem_usage": agent.mem_usage,
        "registered_at": agent.registered_at,
        "last_seen_at": agent.last_seen_at,
    }
