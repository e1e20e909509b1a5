"""How many plans the agent runs at a time now: the pool's rules, its own setting, and the load."""

import asyncio

import psutil
import structlog

from sluice.base.clock import Clock
from sluice.runner.slots import PlanLimit, Sample, adapted, plan_limit
from sluice.wire.agent import PoolInfo

_log = structlog.get_logger(__name__)


class Concurrency:
    """The present limit of plans, moved by samples of the machine's load.

    Args:
        own_limit: the agent's setting; None for the pool's maximum.
        clock: for the time between samples.
        changed: set when there is room for more.
    """

    def __init__(
        self, own_limit: int | None, clock: Clock, changed: asyncio.Event
    ) -> None:
        self._own_limit = own_limit
        self._clock = clock
        self._changed = changed
        self._now: PlanLimit | None = None
        self._sampled_at = clock.monotonic()
        psutil.cpu_percent(interval=None)  # the first call only sets the mark
        self._sample = Sample(0.0, psutil.virtual_memory().percent / 100)

    @property
    def sample(self) -> Sample:
        """The latest sample."""
        return self._sample

    def limit(self, pool: PoolInfo) -> int:
        """How many plans may run at a time now."""
        maximum = plan_limit(pool, self._own_limit)
        if self._now is None or not pool.adaptive_concurrency:
            return maximum
        return min(self._now.limit, maximum)

    def observe(self, pool: PoolInfo, *, at_least_seconds: float) -> None:
        """Take a sample and move the limit, unless the last is younger than that.

        Processors are sampled over the time since the last one: over a few milliseconds
        that would say nothing.
        """
        now = self._clock.monotonic()
        if now - self._sampled_at < at_least_seconds:
            return
        self._sampled_at = now
        self._sample = Sample(
            cpu=psutil.cpu_percent(interval=None) / 100,
            memory=psutil.virtual_memory().percent / 100,
        )
        self._move(pool)

    def _move(self, pool: PoolInfo) -> None:
        maximum = plan_limit(pool, self._own_limit)
        before = self._now or PlanLimit(maximum)
        self._now = adapted(before, pool, maximum, self._sample)
        if self._now.limit == before.limit or not pool.adaptive_concurrency:
            return
        _log.info(
            "plan limit changed",
            limit=self._now.limit,
            maximum=maximum,
            cpu=round(self._sample.cpu, 2),
            memory=round(self._sample.memory, 2),
        )
        if self._now.limit > before.limit:
            self._changed.set()
