"""Decides whether an agent counts as alive, and whether it has room for work."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sluice.agents.model import Agent
from sluice.tasks.queue import ALIVE_SECONDS
from sluice.wire.shapes.pools import AgentState


def alive_since(now: datetime) -> datetime:
    """An agent that was not heard of since then is offline."""
    return now - timedelta(seconds=ALIVE_SECONDS)


def state_of(agent: Agent, now: datetime) -> AgentState:
    """How an agent is shown."""
    if agent.last_seen_at < alive_since(now):
        return AgentState.OFFLINE
    if agent.draining:
        return AgentState.DRAINING
    return AgentState.BUSY if agent.busy else AgentState.IDLE


def has_room(agent: Agent) -> bool:
    """Whether an agent that is alive could take something, as far as it said."""
    return (
        not agent.draining
        and not agent.apply_task_running
        and agent.plan_tasks_running < agent.plan_task_limit
    )


def counts(agents: Iterable[Agent], since: datetime) -> tuple[int, int]:
    """How many agents were heard of since then, and how many of them have room."""
    alive = [agent for agent in agents if agent.last_seen_at >= since]
    return len(alive), sum(has_room(agent) for agent in alive)
