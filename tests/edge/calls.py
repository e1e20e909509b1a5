"""What tests of outgoing calls share: clients, resolvers, and waiting for ends."""

import asyncio
import gc
from collections.abc import Sequence

import psutil

from sluice.edge.outgoing import Outgoing
from tests.edge.far_side import FarSide

LOOPBACK = ["127.0.0.0/8", "::1/128"]
NAME = "scan.example.com"


def opened(resolve: "Answers | None" = None, *, connections: int = 200) -> Outgoing:
    """A client that may call loopback over plain HTTP."""
    return Outgoing(
        allowed_cidrs=LOOPBACK,
        allow_http=True,
        resolve=resolve,
        connections=connections,
    )


class Answers:
    """A resolver that gives one answer after the other, and the last one for good."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def post(client: Outgoing, url: str, timeout: float = 30.0) -> int:
    """The status of a call with a small body."""
    return await client.post(url, body=b"{}", headers={}, timeout=timeout)


def descriptors() -> int:
    """How many are open, besides garbage."""
    gc.collect()
    return psutil.Process().num_fds()


async def settled(most: int) -> None:
    """Wait until no more than ``most`` descriptors are open."""
    async with asyncio.timeout(30):
        while descriptors() > most:
            await asyncio.sleep(0.05)


async def gone(far: FarSide) -> None:
    """Wait until nobody is connected any more."""
    async with asyncio.timeout(30):
        while far.open:
            await asyncio.sleep(0.02)
