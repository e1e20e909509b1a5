"""Wake-ups inside one process: a topic changed, look again. Never the only copy of anything.

A waiter must look at what is stored after it subscribed and again each second or two,
so a lost wake-up delays and never stalls.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Subscription:
    """One waiter's view of some topics; wake-ups while it works are not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Mark that something changed."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a change, at most ``seconds``; True where there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Hub:
    """Topics and who waits on them; ``relay`` carries local wake-ups to other processes."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = {}
        self.relay: Callable[[str], None] | None = None

    def publish(self, topic: str) -> None:
        """Wake everybody who waits on ``topic``, here and, by the relay, elsewhere."""
        self.deliver(topic)
        if self.relay is not None:
            self.relay(topic)

    def deliver(self, topic: str) -> None:
        """Wake those who wait here only (what a relay calls for others' wake-ups)."""
        for subscription in self._topics.get(topic, ()):
            subscription.notify()

    @contextmanager
    def subscribe(self, *topics: str) -> Iterator[Subscription]:
        """Wait on ``topics`` while the block runs."""
        subscription = Subscription()
        for topic in topics:
            self._topics.setdefault(topic, set()).add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                waiting = self._topics[topic]
                waiting.discard(subscription)
                if not waiting:
                    del self._topics[topic]
