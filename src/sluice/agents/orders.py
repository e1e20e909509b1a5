"""Decides what a ping is answered with: to drain, to take work again, or neither."""

from sluice.agents.model import Agent
from sluice.agents.skew import Skew
from sluice.wire.agent import Command, CommandType, PingRequest


def drain_orders(agent: Agent, said: PingRequest, skew: Skew) -> list[Command]:
    """What is asked again with each ping until the agent says that it is so.

    An agent that the server's upgrade has left behind is asked to drain: what it runs goes
    on to its end.
    """
    wanted = agent.drain_requested or not skew.fits
    if wanted and not said.draining:
        return [Command(type=CommandType.DRAIN, reason=_why(agent, skew))]
    if not wanted and said.draining and not said.ending:
        return [Command(type=CommandType.RESUME, reason=_why(agent, skew))]
    return []


def _why(agent: Agent, skew: Skew) -> str:
    """Who asks and why."""
    if not agent.drain_requested and not skew.fits:
        return skew.advice
    return ": ".join(part for part in (agent.drain_by, agent.drain_reason) if part)
