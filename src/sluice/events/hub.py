"""Wake-ups inside one process: a topic changed, look again. Never the only copy of anything.

A waiter must look at what is stored after it subscribed and again each second or two,
so a lost wake-up delays and never stalls.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import override


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


class _Call(Subscription):
    """Calls at once instead of waking a waiter."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call = call

    @override
    def notify(self) -> None:
        self._call()


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
        for subscription in list(self._topics.get(topic, ())):
            subscription.notify()

    @contextmanager
    def subscribe(self, *topics: str) -> Iterator[Subscription]:
        """Wait on ``topics`` while the block runs."""
        subscription = Subscription()
        with self._subscribed(subscription, topics):
            yield subscription

    @contextmanager
    def telling(self, call: Callable[[], None], *topics: str) -> Iterator[None]:
        """While the block runs, ``call`` is called when one of ``topics`` changed.

        It is for many who wait for something else: they need no task of their own for it.
        """
        with self._subscribed(_Call(call), topics):
            yield

    @contextmanager
    def _subscribed(
        self, subscription: Subscription, topics: Sequence[str]
    ) -> Iterator[None]:
        for topic in topics:
            self._topics.setdefault(topic, set()).add(subscription)
        try:
            yield
        finally:
            for topic in topics:
                waiting = self._topics[topic]
                waiting.discard(subscription)
                if not waiting:
                    del self._topics[topic]
