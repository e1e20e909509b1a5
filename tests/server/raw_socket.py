"""A WebSocket client that keeps no rule: handshakes and frames as bytes."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
SECONDS = 30.0
"""How long is waited for what has to come."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x01\x02\x03\x04"


@dataclass(frozen=True)
class Handshake:
    """What is asked; ``headers`` replace the right ones by name, None leaves one out."""

    path: str
    token: str = ""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    method: str = "GET"
    version: str = "HTTP/1.1"
    more: tuple[str, ...] = ()

    def encode(self, port: int) -> bytes:
        fields: dict[str, str | None] = {
            "Host": f"{HOST}:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        if self.token:
            fields["Authorization"] = f"Bearer {self.token}"
        fields.update(self.headers)
        lines = [f"{self.method} {self.path} {self.version}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        return ("\r\n".join([*lines, *self.more]) + "\r\n\r\n").encode("latin-1")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: int = 1,
    rsv: int = 0,
    masked: int = 1,
    length: bytes | None = None,
) -> bytes:
    """A client's frame; ``length`` replaces the length field."""
    first = fin << 7 | rsv << 4 | opcode
    if length is None:
        if len(payload) < 126:
            length = bytes([len(payload)])
        elif len(payload) < 65536:
            length = b"\x7e" + struct.pack("!H", len(payload))
        else:
            length = b"\x7f" + struct.pack("!Q", len(payload))
    head = bytes([first, length[0] | masked << 7]) + length[1:]
    if not masked:
        return head + payload
    key = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    body = int.from_bytes(payload) ^ int.from_bytes(key)
    return head + _MASK + body.to_bytes(len(payload))


@dataclass
class Wire:
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write as far as the server takes it."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            async with asyncio.timeout(SECONDS):
                await self.writer.drain()

    async def status(self) -> int:
        """The status of the answer to the handshake; 0 where it was cut."""
        try:
            async with asyncio.timeout(SECONDS):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(head.split(b" ", 2)[1])

    async def closed_with(self) -> int | None:
        """The code of the close frame that comes; None where it is cut without one."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(SECONDS):
                while True:
                    opcode, payload = await self.next()
                    if opcode == CLOSE:
                        return struct.unpack("!H", payload[:2])[0] if payload else 1005
        return None

    async def next(self) -> tuple[int, bytes]:
        """The next frame of the server."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            [length] = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            [length] = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A connection while the block runs."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def asked(port: int, handshake: Handshake) -> int:
    """The status that a handshake gets."""
    async with wire(port) as line:
        await line.send(handshake.encode(port))
        return await line.status()


@asynccontextmanager
async def upgraded(port: int, handshake: Handshake) -> AsyncIterator[Wire]:
    """A connection behind its handshake."""
    async with wire(port) as line:
        await line.send(handshake.encode(port))
        assert await line.status() == 101
        yield line
