"""Decides which agent one that registers is: one that is known, or a new one."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from sluice.agents.model import Agent
from sluice.agents.presence import is_alive
from sluice.wire.agent import RegisterRequest


def same_instance(agent: Agent, instance: str) -> bool:
    """Whether the agent runs in this data directory, as far as both tell."""
    return not agent.instance or not instance or agent.instance == instance


def candidates(
    wanted: RegisterRequest,
    known: Agent | None,
    namesakes: Iterable[Agent],
    now: datetime,
) -> Iterator[Agent]:
    """The identities that the one who registers may take up, the best first.

    Its own comes first, by the id it kept: unless somebody else took that up meanwhile and
    lives. Then those of its name that are away, as of an agent that has lost its disk;
    one that still holds work is not to be taken up that way. Two agents of one name that
    both live stay two.

    Args:
        wanted: what it says of itself.
        known: the pool's agent with the id it says, if there is one.
        namesakes: the pool's agents of its name, those heard of last first.
        now: the present time.
    """
    if known is not None and (
        same_instance(known, wanted.instance) or not is_alive(known, now)
    ):
        yield known
    for agent in namesakes:
        if not is_alive(agent, now) and agent != known:
            yield agent
