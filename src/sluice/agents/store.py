"""Pools and agents in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, case, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from sluice.agents.model import Agent, Pool
from sluice.agents.presence import claim_facts
from sluice.agents.tables import agents, pools
from sluice.base.errors import ConflictError
from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.tasks.matching import ClaimFacts
from sluice.tasks.queue import PoolFacts

# `presence.has_room` in SQL
_HAS_ROOM = and_(
    ~agents.c.draining,
    ~agents.c.drain_requested,
    ~agents.c.apply_task_running,
    agents.c.plan_tasks_running < agents.c.plan_task_limit,
)
_AGENTS_WITH_POOLS = select(
    agents, *(column.label(f"its_{column.name}") for column in pools.c)
).join(pools, pools.c.id == agents.c.pool_id)


# a status tree may be long, and lists look at many agents
_WITHOUT_LOOPS = [column for column in agents.c if column.name != "loops"]


class SqlAgentStore:
    """Pools and agents on SQLite and PostgreSQL."""

    async def add_pool(self, tx: Tx, pool: Pool) -> None:
        """Keep a new pool."""
        values = {
            "id": pool.id,
            "organization_id": pool.organization_id,
            "created_at": pool.created_at,
            **_rules(pool),
        }
        try:
            await connection_of(tx).execute(pools.insert().values(values))
        except IntegrityError as error:
            raise _taken(pool) from error

    async def get_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool with this id."""
        rows = await connection_of(tx).execute(
            select(pools).where(pools.c.id == pool_id)
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _pool(row)

    async def hold_pool(self, tx: Tx, pool_id: PoolId) -> Pool | None:
        """The pool, its row locked (SQLite has but one writer anyway)."""
        rows = await connection_of(tx).execute(
            select(pools).where(pools.c.id == pool_id).with_for_update()
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _pool(row)

    async def save_pool(self, tx: Tx, pool: Pool) -> None:
        """Store changed rules."""
        try:
            await connection_of(tx).execute(
                pools.update().where(pools.c.id == pool.id).values(_rules(pool))
            )
        except IntegrityError as error:
            raise _taken(pool) from error

    async def delete_pool(self, tx: Tx, pool_id: PoolId) -> None:
        """Remove a pool with its agents."""
        connection = connection_of(tx)
        try:
            await connection.execute(agents.delete().where(agents.c.pool_id == pool_id))
            await connection.execute(pools.delete().where(pools.c.id == pool_id))
        except IntegrityError as error:
            raise ConflictError(
                f"The pool {pool_id} is still named by a workspace or a script; name"
                " another pool there first."
            ) from error

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

    async def hold_agent(self, tx: Tx, agent_id: AgentId) -> Agent | None:
        """The agent, its row locked (SQLite has but one writer anyway)."""
        rows = await connection_of(tx).execute(
            select(agents).where(agents.c.id == agent_id).with_for_update()
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _agent(row)

    async def delete_agent(self, tx: Tx, agent_id: AgentId) -> None:
        """Forget an agent."""
        await connection_of(tx).execute(agents.delete().where(agents.c.id == agent_id))

    async def agents_of(
        self, tx: Tx, pool_id: PoolId, name: str | None = None
    ) -> list[Agent]:
        """A pool's agents, those heard of last first; only those of this name."""
        query = (
            select(agents)
            .where(agents.c.pool_id == pool_id)
            .order_by(agents.c.last_seen_at.desc(), agents.c.id)
        )
        if name is not None:
            query = query.where(agents.c.name == name)
        rows = await connection_of(tx).execute(query)
        return [_agent(row) for row in rows.mappings()]

    async def list_agents(self, tx: Tx, organization_id: OrganizationId) -> list[Agent]:
        """An organization's agents by name, without what their loops are doing."""
        rows = await connection_of(tx).execute(
            select(*_WITHOUT_LOOPS)
            .join(pools, pools.c.id == agents.c.pool_id)
            .where(pools.c.organization_id == organization_id)
            .order_by(agents.c.name, agents.c.id)
        )
        return [_agent(row) for row in rows.mappings()]

    async def pools(
        self, tx: Tx, organization_id: OrganizationId, since: datetime
    ) -> list[PoolFacts]:
        """An organization's pools, with their agents that were heard of since then.

        Counted by the database: every list of tasks that wait asks for it.
        """
        rows = await connection_of(tx).execute(
            select(
                pools.c.id,
                pools.c.name,
                pools.c.labels,
                func.count(agents.c.id).label("alive"),
                func.count(case((_HAS_ROOM, 1))).label("free"),
            )
            .outerjoin(
                agents,
                and_(agents.c.pool_id == pools.c.id, agents.c.last_seen_at >= since),
            )
            .where(pools.c.organization_id == organization_id)
            .group_by(pools.c.id)
            .order_by(pools.c.name)
        )
        return [
            PoolFacts(PoolId(row.id), row.name, row.alive, row.free, row.labels)
            for row in rows
        ]

    async def pool_labels(
        self, tx: Tx, pool_ids: Collection[PoolId]
    ) -> dict[PoolId, Mapping[str, str]]:
        """Labels of pools; those unknown are left out."""
        rows = await connection_of(tx).execute(
            select(pools.c.id, pools.c.labels).where(among(pools.c.id, pool_ids))
        )
        return {PoolId(row.id): row.labels for row in rows}

    async def claim_facts(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, ClaimFacts]:
        """What a claim needs of agents, kept from others' claims; in one order everywhere."""
        rows = await connection_of(tx).execute(
            _AGENTS_WITH_POOLS.where(among(agents.c.id, agent_ids))
            .order_by(agents.c.id)
            .with_for_update(of=agents, key_share=True)
        )
        facts: dict[AgentId, ClaimFacts] = {}
        for row in rows.mappings():
            pool = _pool({one.name: row[f"its_{one.name}"] for one in pools.c})
            facts[row["id"]] = claim_facts(_agent(row), pool)
        return facts

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        rows = await connection_of(tx).execute(
            select(agents.c.id, agents.c.name).where(agents.c.id.in_(agent_ids))
        )
        return {AgentId(row.id): row.name for row in rows}


def _taken(pool: Pool) -> ConflictError:
    return ConflictError(
        f"There is a pool named {pool.name} already; take another name."
    )


def _rules(pool: Pool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "labels": dict(pool.labels),
        "max_plan_concurrency": pool.max_plan_concurrency,
        "allow_apply_concurrent": pool.allow_apply_concurrent,
        "adaptive_concurrency": pool.adaptive_concurrency,
        "cpu_threshold": pool.cpu_threshold,
        "mem_threshold": pool.mem_threshold,
    }


def _pool(row: Mapping[Any, Any]) -> Pool:
    return Pool(
        id=row["id"],
        organization_id=row["organization_id"],
        name=row["name"],
        created_at=row["created_at"],
        labels=row["labels"],
        max_plan_concurrency=row["max_plan_concurrency"],
        allow_apply_concurrent=row["allow_apply_concurrent"],
        adaptive_concurrency=row["adaptive_concurrency"],
        cpu_threshold=row["cpu_threshold"],
        mem_threshold=row["mem_threshold"],
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
        instance=row["instance"],
        capabilities=tuple(row["capabilities"]),
        busy=row["busy"],
        draining=row["draining"],
        drain_requested=row["drain_requested"],
        drain_reason=row["drain_reason"],
        drain_by=row["drain_by"],
        drain_at=row["drain_at"],
        plan_tasks_running=row["plan_tasks_running"],
        plan_task_limit=row["plan_task_limit"],
        apply_task_running=row["apply_task_running"],
        current_tasks=tuple(row["current_tasks"]),
        cpu_usage=row["cpu_usage"],
        mem_usage=row["mem_usage"],
        loops=row.get("loops", {}),
    )


def _agent_values(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "pool_id": agent.pool_id,
        "name": agent.name,
        "version": agent.version,
        "labels": dict(agent.labels),
        "instance": agent.instance,
        "capabilities": list(agent.capabilities),
        "busy": agent.busy,
        "draining": agent.draining,
        "drain_requested": agent.drain_requested,
        "drain_reason": agent.drain_reason,
        "drain_by": agent.drain_by,
        "drain_at": agent.drain_at,
        "plan_tasks_running": agent.plan_tasks_running,
        "plan_task_limit": agent.plan_task_limit,
        "apply_task_running": agent.apply_task_running,
        "current_tasks": list(agent.current_tasks),
        "cpu_usage": agent.cpu_usage,
        "mem_usage": agent.mem_usage,
        "loops": {name: dict(line) for name, line in agent.loops.items()},
        "registered_at": agent.registered_at,
        "last_seen_at": agent.last_seen_at,
    }
