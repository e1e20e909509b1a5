"""Counts requests by window: in memory, or in Redis for several server processes together.

Redis is never the reason for a refusal or a fault: while it does not answer, each process
counts for itself, and asks it again after a pause.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog
from limits.aio.storage import RedisStorage, Storage
from limits.errors import StorageError
from typing_extensions import override

from sluice.base.clock import Clock

KEYS = 50_000
"""So many counters at most are kept in memory; those that began first are forgotten first."""

REDIS_SECONDS = 0.25
"""How long a request waits for Redis before it is counted here."""

PAUSE_SECONDS = 5.0
"""How long Redis is left alone once it did not answer."""

_PREFIX = "sluice:rate"
_logger = structlog.get_logger(__name__)


class Counters(Protocol):
    """Numbers by key that are forgotten after a while."""

    async def add(self, key: str, seconds: int) -> int:
        """Count one more; the number there is then."""
        ...

    async def number(self, key: str) -> int:
        """The number there is."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class BoundedMemory(Storage):
    """A storage of `limits` in memory that never holds more than ``keys`` counters.

    The one that comes with `limits` walks over all counters in a task of its own, request
    by request, and has no bound.
    """

    STORAGE_SCHEME: list[str] | None = None

    def __init__(self, clock: Clock, keys: int = KEYS) -> None:
        super().__init__()
        self._clock = clock
        self._most = keys
        self._counted: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counted)

    @property
    @override
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    @override
    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = self._clock.monotonic()
        number, ends = self._counted.get(key, (0, 0.0))
        if ends <= now:
            self._counted.pop(key, None)
            self._make_room(now)
            number, ends = 0, now + expiry
        self._counted[key] = (number + amount, ends)
        return number + amount

    @override
    async def get(self, key: str) -> int:
        number, ends = self._counted.get(key, (0, 0.0))
        return number if ends > self._clock.monotonic() else 0

    @override
    async def get_expiry(self, key: str) -> float:
        now = self._clock.monotonic()
        _, ends = self._counted.get(key, (0, now))
        return self._clock.now().timestamp() + ends - now

    @override
    async def check(self) -> bool:
        return True

    @override
    async def reset(self) -> int:
        number = len(self._counted)
        self._counted.clear()
        return number

    @override
    async def clear(self, key: str) -> None:
        self._counted.pop(key, None)

    def _make_room(self, now: float) -> None:
        """Forget what is over, and at the bound the counter that began first."""
        while self._counted:
            first = next(iter(self._counted))
            if self._counted[first][1] > now and len(self._counted) < self._most:
                return
            del self._counted[first]


class MemoryCounters:
    """Counters of this process."""

    def __init__(self, clock: Clock, keys: int = KEYS) -> None:
        self.storage = BoundedMemory(clock, keys)

    async def add(self, key: str, seconds: int) -> int:
        """Count one more."""
        return await self.storage.incr(key, seconds)

    async def number(self, key: str) -> int:
        """The number there is."""
        return await self.storage.get(key)

    async def close(self) -> None:
        """Nothing is open."""


class RedisCounters:
    """Counters that several processes share; this process's own while Redis is away."""

    def __init__(self, url: str, clock: Clock, *, keys: int = KEYS) -> None:
        # redis is an extra that a single server need not have
        from redis.asyncio import ConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        self._storage = RedisStorage(
            "redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]
        )
        self._clock = clock
        self._own = MemoryCounters(clock, keys)
        self._away_until = 0.0

    async def add(self, key: str, seconds: int) -> int:
        """Count one more, there or else here."""
        if not self._is_away():
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await self._storage.incr(key, seconds)
            except (StorageError, TimeoutError, OSError) as error:
                self._leave_alone(error)
        return await self._own.add(key, seconds)

    async def number(self, key: str) -> int:
        """The number there is, there or else here."""
        if not self._is_away():
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await self._storage.get(key)
            except (StorageError, TimeoutError, OSError) as error:
                self._leave_alone(error)
        return await self._own.number(key)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()

    def _is_away(self) -> bool:
        return self._clock.monotonic() < self._away_until

    def _leave_alone(self, error: Exception) -> None:
        self._away_until = self._clock.monotonic() + PAUSE_SECONDS
        reason = str(error) or "no answer in time"
        _logger.warning("requests are counted without Redis", reason=reason)


def open_counters(redis_url: str, clock: Clock) -> Counters:
    """Counters in Redis where there is one, else in memory."""
    return RedisCounters(redis_url, clock) if redis_url else MemoryCounters(clock)
