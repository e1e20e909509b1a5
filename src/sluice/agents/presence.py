"""Decides whether an agent counts as alive, and whether it has room for work."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sluice.agents.model import Agent, Pool
from sluice.tasks.matching import ClaimFacts
from sluice.tasks.queue import ALIVE_SECONDS, PoolFacts
from sluice.wire.shapes.pools import AgentState


def alive_since(now: datetime) -> datetime:
    """An agent that was not heard of since then is offline."""
    return now - timedelta(seconds=ALIVE_SECONDS)


def is_alive(agent: Agent, now: datetime) -> bool:
    """Whether the agent was heard of lately."""
    return agent.last_seen_at >= alive_since(now)


def state_of(agent: Agent, now: datetime) -> AgentState:
    """How an agent is shown."""
    if not is_alive(agent, now):
        return AgentState.OFFLINE
    if not takes_work(agent):
        return AgentState.DRAINING
    return AgentState.BUSY if agent.busy else AgentState.IDLE


def takes_work(agent: Agent) -> bool:
    """Whether an agent may be given anything: it does not drain, and is not asked to."""
    return not agent.draining and not agent.drain_requested


def has_room(agent: Agent) -> bool:
    """Whether an agent that is alive could take something, as far as it said."""
    return (
        takes_work(agent)
        and not agent.apply_task_running
        and agent.plan_tasks_running < agent.plan_task_limit
    )


def pool_facts(pool: Pool, agents: Iterable[Agent], since: datetime) -> PoolFacts:
    """A pool with those of ``agents`` that are its own and were heard of since then."""
    alive = [
        agent
        for agent in agents
        if agent.pool_id == pool.id and agent.last_seen_at >= since
    ]
    return PoolFacts(
        id=pool.id,
        name=pool.name,
        agents=len(alive),
        free=sum(has_room(agent) for agent in alive),
        labels=pool.labels,
    )


def claim_facts(agent: Agent, pool: Pool) -> ClaimFacts:
    """What decides how much an agent may be given: its pool's rules, and what it said."""
    return ClaimFacts(
        pool_id=pool.id,
        organization_id=pool.organization_id,
        labels=pool.labels,
        plan_limit=min(pool.max_plan_concurrency, agent.plan_task_limit),
        allow_apply_concurrent=pool.allow_apply_concurrent,
        takes_work=takes_work(agent),
    )
