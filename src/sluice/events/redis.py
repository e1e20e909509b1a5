"""Carries wake-ups between server processes over Redis pub/sub.

Nothing depends on it: a lost wake-up delays a waiter by a second or two, because every
waiter looks again by itself (`events/hub.py`). So a Redis that is away is a reason to
log and to try again, never an error for anybody else.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sluice.base.errors import UnavailableError
from sluice.base.ids import random_id
from sluice.events.hub import Hub

CHANNEL = "sluice:wake"
_MAX_WAITING = 10_000
_BATCH = 500
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_POLL_SECONDS = 1.0
_logger = structlog.get_logger(__name__)


class Wake(msgspec.Struct, array_like=True):
    """What travels: who publishes, and which topics changed."""

    sender: str
    topics: list[str]


class RedisRelay:
    """Publishes this process's topics and delivers those of the others.

    `run` is the loop; it ends when it is cancelled, and topics that wait to be published
    are then dropped (they are hints).
    """

    def __init__(self, hub: Hub, url: str, *, channel: str = CHANNEL) -> None:
        self._hub = hub
        self._url = url
        self._channel = channel
        self._sender = random_id("proc")
        self._waiting: deque[str] = deque(maxlen=_MAX_WAITING)
        self._known: set[str] = set()
        self._ready = asyncio.Event()
        self.connected = False
        self.status = "not started"

    def publish(self, topic: str) -> None:
        """Take a topic for publishing; never waits, and drops the oldest when swamped."""
        if topic in self._known:
            return
        if len(self._waiting) == _MAX_WAITING:
            self._known.discard(self._waiting[0])
        self._waiting.append(topic)
        self._known.add(topic)
        self._ready.set()

    async def check(self) -> None:
        """Raise UnavailableError while Redis is away (for readiness)."""
        if not self.connected:
            raise UnavailableError(f"Redis at the relay is away ({self.status}).")

    async def run(self) -> None:
        """Keep connected, publish and listen, until cancelled."""
        self._hub.relay = self.publish
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._again_and_again(self._publish_waiting), name="publish"
                )
                group.create_task(self._again_and_again(self._listen), name="listen")
        finally:
            self._hub.relay = None
            self.connected = False
            self.status = "stopped"

    async def _again_and_again(self, work: Callable[[Redis], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE
        while True:
            # redis-py's own retries would hide that it is away
            redis = Redis.from_url(
                self._url, socket_connect_timeout=3.0, retry=Retry(NoBackoff(), 0)
            )
            started = time.monotonic()
            try:
                await work(redis)
            except (RedisError, OSError) as error:
                self._note_away(str(error) or type(error).__name__)
            finally:
                await redis.aclose()
            if time.monotonic() - started > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _note_away(self, reason: str) -> None:
        if not self.status.startswith("away"):
            _logger.warning("redis is away; waiters poll the database", reason=reason)
        self.status = f"away: {reason}"

    async def _publish_waiting(self, redis: Redis) -> None:
        if self._waiting:
            self._ready.set()
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                count = min(len(self._waiting), _BATCH)
                topics = [self._waiting.popleft() for _ in range(count)]
                self._known.difference_update(topics)
                message = msgspec.msgpack.encode(Wake(self._sender, topics))
                await redis.publish(self._channel, message)

    async def _listen(self, redis: Redis) -> None:
        pubsub = redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self._channel)
            self.connected = True
            self.status = "connected"
            _logger.info("redis relay connected", channel=self._channel)
            while True:
                message = await pubsub.get_message(timeout=_POLL_SECONDS)
                if message is not None and message["type"] == "message":
                    self._deliver(message["data"])
        finally:
            self.connected = False
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _deliver(self, data: bytes) -> None:
        try:
            wake = msgspec.msgpack.decode(data, type=Wake)
        except msgspec.DecodeError:
            _logger.warning("a foreign message on the wake-up channel is ignored")
            return
        if wake.sender == self._sender:
            return
        for topic in wake.topics:
            self._hub.deliver(topic)
