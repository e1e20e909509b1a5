"""Pools and agents as the API shows them."""

from sluice.agents.actions import SeenAgent
from sluice.agents.model import Pool
from sluice.agents.presence import takes_work
from sluice.wire.agent import LoopStatus
from sluice.wire.shapes import pools as shapes
from sluice.wire.shapes.pools import AgentState


def pool_resource(pool: Pool) -> shapes.Pool:
    """A pool."""
    return shapes.Pool(
        id=pool.id,
        organization_id=pool.organization_id,
        name=pool.name,
        labels=dict(pool.labels),
        max_plan_concurrency=pool.max_plan_concurrency,
        allow_apply_concurrent=pool.allow_apply_concurrent,
        adaptive_concurrency=pool.adaptive_concurrency,
        cpu_threshold=pool.cpu_threshold,
        mem_threshold=pool.mem_threshold,
        created_at=pool.created_at,
    )


def agent_resource(seen: SeenAgent) -> shapes.Agent:
    """An agent in a list."""
    agent = seen.agent
    offline = seen.state is AgentState.OFFLINE
    return shapes.Agent(
        id=agent.id,
        pool_id=agent.pool_id,
        pool_name=seen.pool_name,
        name=agent.name,
        version=agent.version,
        labels=dict(agent.labels),
        capabilities=list(agent.capabilities),
        state=seen.state,
        busy=agent.busy,
        plan_running_count=agent.plan_tasks_running,
        plan_limit=agent.plan_task_limit,
        apply_running=agent.apply_task_running,
        current_tasks=list(agent.current_tasks),
        draining=not takes_work(agent),
        drain=_drain(seen),
        cpu_usage=agent.cpu_usage,
        mem_usage=agent.mem_usage,
        registered_at=agent.registered_at,
        last_seen_at=agent.last_seen_at,
        unreachable_since=agent.last_seen_at if offline else None,
        advice=seen.advice,
    )


def agent_details(seen: SeenAgent) -> shapes.AgentDetails:
    """An agent with its live status tree."""
    return shapes.AgentDetails(**dict(agent_resource(seen)), loops=_loops(seen))


def agent_status(seen: SeenAgent) -> shapes.AgentStatus:
    """The live status tree alone."""
    return shapes.AgentStatus(
        id=seen.agent.id,
        name=seen.agent.name,
        state=seen.state,
        told_at=seen.agent.last_seen_at,
        loops=_loops(seen),
    )


def _drain(seen: SeenAgent) -> shapes.DrainRequest | None:
    agent = seen.agent
    if not agent.drain_requested or agent.drain_at is None:
        return None
    return shapes.DrainRequest(
        by=agent.drain_by, reason=agent.drain_reason, at=agent.drain_at
    )


def _loops(seen: SeenAgent) -> dict[str, LoopStatus]:
    return {name: LoopStatus(**line) for name, line in seen.agent.loops.items()}
