"""Asks the server for work whenever the agent has room for some, and hands it on.

A poll that is under way is not broken off because slots changed: an order that is on its
way would be lost until its lease runs out.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

import structlog

from sluice.base.errors import (
    ForbiddenError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi
from sluice.runner.backoff import Backoff
from sluice.runner.concurrency import Concurrency
from sluice.runner.drain import Drain
from sluice.runner.register import Session
from sluice.runner.slots import Load, free_slots, poll_seconds
from sluice.runner.status import StatusNode
from sluice.wire.agent import PhaseOrder, PullRequest, Slots

LOOK_AGAIN_SECONDS = 10.0
PING_PATIENCE_SECONDS = 2.0
"""So long a ping that the server asked for may take before work is asked for again."""

_log = structlog.get_logger(__name__)


class TakesOrders(Protocol):
    """What the loop needs of the phases."""

    @property
    def load(self) -> Load:
        """How many run."""
        ...

    def begin(self, order: PhaseOrder) -> None:
        """Run a phase."""
        ...


@dataclass(frozen=True, slots=True)
class PullLoop:
    """The loop and what it talks to.

    Attributes:
        changed: set when there may be room again.
        ping_now: set to have the agent ping at once.
        pinged: set when such a ping was answered.
    """

    api: AgentApi
    session: Session
    phases: TakesOrders
    drain: Drain
    concurrency: Concurrency
    changed: asyncio.Event
    ping_now: asyncio.Event
    pinged: asyncio.Event
    status: StatusNode

    async def run(self) -> None:
        """Pull until cancelled."""
        backoff = Backoff(0.5, 15.0)
        while True:
            slots = self._slots()
            if slots == Slots():
                await self._wait_for_room()
            elif await self._pull(slots):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.delay())

    def _slots(self) -> Slots:
        if self.drain.draining:
            return Slots()
        limit = self.concurrency.limit(self.session.pool)
        return free_slots(self.session.pool, limit, self.phases.load)

    async def _wait_for_room(self) -> None:
        """Sleep until a phase ends or the drain is over; the pool's rules may change too."""
        self.status.say(f"not pulling: {self.drain.words or 'all slots are taken'}")
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await self.changed.wait()

    async def _pull(self, slots: Slots) -> bool:
        """One long poll; returns whether the server took it."""
        limit = self.concurrency.limit(self.session.pool)
        seconds = poll_seconds(slots, limit)
        self.status.say(f"waiting for work: room for {_words(slots)}")
        token = self.session.token
        try:
            request = PullRequest(slots=slots, wait_seconds=seconds)
            pulled = await self.api.pull(token, self.session.agent_id, request)
        except (UnauthorizedError, ForbiddenError, NotFoundError):
            return await self._renew(token)
        except SluiceError as error:
            self.status.say(f"cannot ask for work: {error.detail}")
            _log.warning("pull failed", why=error.detail)
            return False
        order = pulled.order
        if order is not None:
            _log.info("took a phase", task_id=order.task_id, phase=order.phase.value)
            self.phases.begin(order)
        elif pulled.ping_now:
            await self._ping()
        return True

    async def _ping(self) -> None:
        """The server has an order, and it may be to take no more work: hear it first."""
        self.status.say("pinging to hear an order")
        self.pinged.clear()
        self.ping_now.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_PATIENCE_SECONDS):
                await self.pinged.wait()

    async def _renew(self, token: str) -> bool:
        try:
            await self.session.renew(token)
        except SluiceError as error:
            self.status.say(f"the server no longer knows this agent: {error.detail}")
            return False
        return True


def _words(slots: Slots) -> str:
    plans = "1 plan" if slots.plan == 1 else f"{slots.plan} plans"
    return f"{plans} and an apply" if slots.apply else plans
