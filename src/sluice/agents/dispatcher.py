"""Gives work to all waiting pulls of this server process, many in one transaction.

A pull that waits costs nothing: one loop looks at the queue for all of them. It looks when
a pull comes, when something in the queue changed, and now and then, should a wake-up have
been lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog

from sluice.agents.model import Pulled
from sluice.events.hub import Hub, Subscription
from sluice.events.topics import QUEUE
from sluice.tasks.actions import TaskDeps, claim_phases, find_takers
from sluice.tasks.matching import Claimant
from sluice.wire.agent import PhaseOrder

LOOK_AGAIN_SECONDS = 1.5
_NOBODY_WAITS = 60.0
_logger = structlog.get_logger(__name__)


class Waiting:
    """One pull that waits: who asks, and what it comes to.

    Work is given to it between `take` and `settle`; a pull that is to end meanwhile ends
    with what it is given.

    Attributes:
        claimant: who asks.
        gone: tells whether its connection is closed.
        answer: what it comes to.
        looked_at: whether the queue was looked at for it.
    """

    def __init__(self, claimant: Claimant, gone: Callable[[], Awaitable[bool]]) -> None:
        self.claimant = claimant
        self.gone = gone
        self.answer: asyncio.Future[Pulled] = asyncio.get_running_loop().create_future()
        self.looked_at = False
        self._taken = False
        self._ending: Pulled | None = None

    def end(self, pulled: Pulled, *, at_once: bool) -> None:
        """End with ``pulled``; else first let the dispatcher look once whether there is work."""
        self._ending = pulled
        self.looked_at = self.looked_at or at_once
        self._close()

    def take(self) -> None:
        """It may be given something from here on."""
        self._taken = True

    def settle(self, order: PhaseOrder | None) -> None:
        """The dispatcher has looked: there was an order, or none for now."""
        self._taken = False
        self.looked_at = True
        if order is not None:
            ping_now = self._ending is not None and self._ending.ping_now
            self._ending = Pulled(order, ping_now)
        self._close()

    def fail(self, error: Exception) -> None:
        """Its claim failed."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _close(self) -> None:
        ready = self.looked_at and not self._taken and not self.answer.done()
        if ready and self._ending is not None:
            self.answer.set_result(self._ending)


class Dispatcher:
    """The pulls that wait on this server process; `run` is the loop that serves them."""

    def __init__(self, tasks: TaskDeps, hub: Hub) -> None:
        self._tasks = tasks
        self._hub = hub
        self.waiting: dict[Waiting, None] = {}
        self._queue: Subscription | None = None

    def come(self, pull: Waiting) -> None:
        """A pull waits from now on; its place is behind those that wait already."""
        self.waiting[pull] = None
        if self._queue is not None:
            self._queue.notify()

    def leave(self, pull: Waiting) -> None:
        """A pull no longer waits."""
        self.waiting.pop(pull, None)
        pull.answer.cancel()

    async def run(self) -> NoReturn:
        """Serve pulls until cancelled; a database that is away for a while does not end it.

        Cancelled in the middle of a claim, it leaves the claim undone, or (committed
        already) to the end of its lease.
        """
        _logger.info("giving out work")
        with self._hub.subscribe(QUEUE) as queue:
            self._queue = queue
            try:
                while True:
                    await self._look()
                    pause = LOOK_AGAIN_SECONDS if self.waiting else _NOBODY_WAITS
                    await queue.wait(pause)
            finally:
                self._queue = None
                _logger.info("no longer giving out work")

    async def _look(self) -> None:
        """Serve those who wait now, each at most once."""
        present = [pull for pull in self.waiting if not pull.answer.done()]
        left = present
        try:
            while left:
                takers = await self._takers(left)
                if not takers:
                    break
                left = [pull for pull in left if pull not in takers]
                await self._serve([pull for pull in takers if await self._reads(pull)])
        except Exception:  # the loop outlives a database that is away
            _logger.exception("cannot look for work")
        for pull in present:
            pull.settle(None)

    async def _takers(self, pulls: Sequence[Waiting]) -> dict[Waiting, None]:
        """Those whom there is something for, in order."""
        claimants = [pull.claimant for pull in pulls]
        found = await find_takers(self._tasks, claimants=claimants)
        first: dict[Claimant, Waiting] = {}
        for pull in pulls:
            first.setdefault(pull.claimant, pull)
        return dict.fromkeys(first[claimant] for claimant in found)

    async def _reads(self, pull: Waiting) -> bool:
        """Whether somebody would read the answer; asked right before the claim."""
        if pull.answer.done() or await pull.gone():
            pull.end(Pulled(), at_once=True)
            return False
        pull.take()
        return True

    async def _serve(self, pulls: Sequence[Waiting]) -> None:
        """Claim for all at once; where that fails, for each alone."""
        if not pulls:
            return
        try:
            await self._claim(pulls)
        except Exception as error:  # whatever it is, it may be due to one of them
            if len(pulls) == 1:
                pulls[0].fail(error)
            else:
                _logger.exception("cannot give out work to many at once")
                for pull in pulls:
                    await self._serve([pull])

    async def _claim(self, pulls: Sequence[Waiting]) -> None:
        claimants = [pull.claimant for pull in pulls]
        orders = await claim_phases(self._tasks, claimants=claimants)
        for pull in pulls:
            pull.settle(orders.get(pull.claimant.agent_id))
