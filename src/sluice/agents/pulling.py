"""Pull work: an agent waits for a phase that fits, and takes it."""

import asyncio
from collections.abc import Awaitable, Callable

from sluice.agents.actions import AgentDeps
from sluice.agents.dispatcher import Waiting
from sluice.agents.model import Pulled
from sluice.auth.model import AgentPrincipal
from sluice.events.topics import STOPPING, agent_topic
from sluice.tasks.matching import Claimant
from sluice.wire.agent import PullRequest, Slots

MISSED_SECONDS = 1.0
"""A pull that waits this long looks whether the agent is to drain and does not know it."""


async def pull(
    deps: AgentDeps,
    *,
    caller: AgentPrincipal,
    wanted: PullRequest,
    gone: Callable[[], Awaitable[bool]],
) -> Pulled:
    """Wait for work and take it; without an order where none came in time.

    It ends early where something else is asked of the agent: a ping tells it what. ``gone``
    tells whether the agent's connection is closed; work is not given to a connection that
    nobody reads.
    """
    if wanted.slots == Slots() or await gone():
        return Pulled()
    claimant = Claimant(
        agent_id=caller.agent_id,
        organization_id=caller.organization_id,
        pool_id=caller.pool_id,
        slots=wanted.slots,
    )
    waiting = Waiting(claimant, gone)
    with (
        deps.hub.telling(
            lambda: waiting.end(Pulled(ping_now=True), at_once=True),
            agent_topic(caller.agent_id),
        ),
        deps.hub.telling(lambda: waiting.end(Pulled(), at_once=True), STOPPING),
    ):
        deps.dispatcher.come(waiting)
        try:
            await _wait(waiting, min(wanted.wait_seconds, MISSED_SECONDS))
            if not waiting.answer.done() and wanted.wait_seconds > MISSED_SECONDS:
                if await _must_hear(deps, caller):
                    waiting.end(Pulled(ping_now=True), at_once=True)
                await _wait(waiting, wanted.wait_seconds - MISSED_SECONDS)
            waiting.end(Pulled(), at_once=False)
            return await waiting.answer
        finally:
            deps.dispatcher.leave(waiting)


async def _wait(waiting: Waiting, seconds: float) -> None:
    """Wait for the answer; unlike a time-out, this leaves it to come later."""
    await asyncio.wait([waiting.answer], timeout=seconds)


async def _must_hear(deps: AgentDeps, caller: AgentPrincipal) -> bool:
    """Whether people want the agent to drain, and it does not say that it does."""
    async with deps.transactions.read() as tx:
        agent = await deps.store.get_agent(tx, caller.agent_id)
    return agent is not None and agent.drain_requested and not agent.draining
