"""WebSockets on uvicorn with frames that are built once and written to many connections.

ASGI's `send` encodes each message for each connection. This protocol class offers its
connections an extension (`scope["extensions"]["sluice.raw_frame"]`) through which ready
frames go straight to the transport, with the transport's own flow control.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope
from typing_extensions import override
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State

from sluice.edge.gate import Gate
from sluice.wire.frames import slices

EXTENSION = "sluice.raw_frame"
MAX_FRAGMENTS = 4096
"""So many frames one message may come in; each costs memory, however small it is."""


class FrameConnection(Protocol):
    """A connection that takes ready WebSocket frames of the server's side."""

    @property
    def alive_at(self) -> float:
        """Loop time at which anything came from the peer (a pong, for instance) or was
        written to it while it took it.
        """
        ...

    @property
    def takes_more(self) -> bool:
        """Whether a write would not make it full."""
        ...

    def write_frames(self, frames: bytes | memoryview) -> bool:
        """Write whole, unmasked frames at once; False where the connection is full now
        (they are written all the same) or gone.
        """
        ...

    async def drain(self) -> bool:
        """Wait until the connection takes more; False where it has gone."""
        ...

    def listen(self, heard: Callable[[str | bytes | None], None]) -> None:
        """Have messages handed to ``heard`` instead of ASGI's `receive`.

        None, perhaps more than once, when the peer has gone. Messages that wait already
        are handed over at once.
        """
        ...

    def abort(self) -> None:
        """Cut the connection, without waiting for what is unwritten."""
        ...


_UNREADABLE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class _NoQueue(asyncio.Queue[ASGIReceiveEvent]):
    """Takes what nobody will ask for."""

    @override
    def put_nowait(self, item: ASGIReceiveEvent) -> None:
        """Forget it: whoever listens has been told."""


_NO_QUEUE = _NoQueue()


class FrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's sans-I/O WebSocket protocol with the raw frame extension."""

    alive_at = 0.0
    _heard: Callable[[str | bytes | None], None] | None = None

    @override
    def data_received(self, data: bytes) -> None:
        self.alive_at = self.loop.time()
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # nobody else answers it, and the connection would stay open
            self.handshake_complete = self.close_sent = True
            self.transport.write(_UNREADABLE)
            self.transport.close()

    @override
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        # the application's task was made just now and has not begun to run
        scope = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = {"connection": self}

    @override
    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.close_sent and self.initial_response is not None:
            # refused with an HTTP answer: the handshake is over, and not for want of one
            self.handshake_complete = True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._say(None)

    @override
    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._say(None)

    @override
    def shutdown(self) -> None:
        super().shutdown()
        self._say(None)

    @override
    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            return
        super().handle_cont(event)

    @override
    def handle_ping(self) -> None:
        # who pings and does not read gets no pong: it would wait here in memory
        pongs = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pongs)

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Close the connection of a peer that breaks the rules."""
        self.frames = []
        self.conn.fail(code, reason)
        self.handle_parser_exception()
        self._say(None)

    def _is_text(self) -> bool:
        """Whether a text message that is complete is text."""
        if self.curr_msg_data_type != "text":
            return True
        try:
            b"".join(self.frames).decode()
        except UnicodeDecodeError:
            return False
        return True

    @override
    def send_receive_event_to_app(self) -> None:
        if not self.close_sent and not self._is_text():
            self._fail(CloseCode.INVALID_DATA, "a text that is no UTF-8")
            return
        if self._heard is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            self._say(bytes(data).decode())
        else:
            self._say(bytes(data))

    def listen(self, heard: Callable[[str | bytes | None], None]) -> None:
        """Have messages handed to ``heard`` instead of ASGI's `receive`.

        From here on the connection keeps only what it needs to stay open: of thousands of
        viewers most do nothing but wait.
        """
        self._heard = heard
        while not self.queue.empty():
            self._pass_on(self.queue.get_nowait())
        self.queue = _NO_QUEUE
        self.writable = Gate(is_open=self.writable.is_set())  # type: ignore[assignment]
        del self.request, self.response
        self.scope["headers"] = []
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.disconnected:
            self._say(None)

    @property
    def takes_more(self) -> bool:
        """Whether the peer keeps up."""
        return self.writable.is_set()

    def write_frames(self, frames: bytes | memoryview) -> bool:
        """Write whole, unmasked frames at once."""
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            return False
        self.transport.write(frames)
        self.alive_at = self.loop.time()
        return self.writable.is_set()

    async def drain(self) -> bool:
        """Wait until the connection takes more."""
        if not self.writable.is_set():
            await self.writable.wait()
        return not self.disconnected and not self.close_sent

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def _pass_on(self, event: ASGIReceiveEvent) -> None:
        if event["type"] == "websocket.receive":
            text = event.get("text")
            self._say(text if text is not None else event.get("bytes") or b"")
        elif event["type"] == "websocket.disconnect":
            self._say(None)

    def _say(self, message: str | bytes | None) -> None:
        if self._heard is not None:
            self._heard(message)


def frame_connection(scope: Scope) -> FrameConnection | None:
    """The connection behind a WebSocket scope, where the server offers the extension."""
    extension = scope.get("extensions", {}).get(EXTENSION)
    return None if extension is None else extension["connection"]


async def write_slowly(connection: FrameConnection, frames: bytes) -> bool:
    """Write a payload of any size piece by piece, as the peer takes it.

    Returns False where the peer has gone.
    """
    for piece in slices(frames):
        if not await connection.drain():
            return False
        connection.write_frames(piece)
        # a peer that takes everything at once must not keep others waiting
        await asyncio.sleep(0)
    return await connection.drain()
