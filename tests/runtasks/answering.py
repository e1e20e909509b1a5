"""A service on a loopback port that answers what a test says, and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """Where it is, what it answers (a status, or raw bytes), and what came."""

    url: str = ""
    answer: int | bytes = 200
    asked: list[Asked] = field(default_factory=list)

    async def take(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Read a request and answer it; one for each connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.asked.append(Asked(first.split()[1], headers, body))
            writer.write(self._answer())
            await writer.drain()
        finally:
            writer.close()

    def _answer(self) -> bytes:
        if isinstance(self.answer, bytes):
            return self.answer
        return (
            f"HTTP/1.1 {self.answer} Words\r\nlocation: http://127.0.0.1:1/\r\n"
            "content-length: 6\r\nconnection: close\r\n\r\nsecret"
        ).encode()


@asynccontextmanager
async def answering() -> AsyncIterator[Service]:
    """The service, while the block runs."""
    service = Service()
    server = await asyncio.start_server(service.take, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        await server.wait_closed()
