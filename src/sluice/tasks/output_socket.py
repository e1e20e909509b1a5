"""Live output over a WebSocket: admitted before the upgrade, then followed to its end."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from sluice.auth.guard import authorize, permit_named
from sluice.auth.live import Ending, ending_with_caller
from sluice.auth.permissions import Permission
from sluice.base.clock import rfc3339
from sluice.base.errors import SluiceError
from sluice.base.ids import new_client_id
from sluice.edge.described import Described
from sluice.edge.problems import problem_of
from sluice.edge.websocket import FrameConnection, frame_connection, write_slowly
from sluice.logs.lane import Push, Reader
from sluice.tasks.log_described import STREAM
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.output_query import Wish, WishOf, output_wish, visitor_of
from sluice.tasks.viewers import Visitor
from sluice.wire.frames import text_messages
from sluice.wire.stream import Connected, Frame, StreamError

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_ERROR = 1011


class _Acknowledgement(msgspec.Struct):
    """The viewer has drawn all lines up to ``line``."""

    type: str
    line: int = 0


_acknowledgements = msgspec.json.Decoder(_Acknowledgement)


class Outlet(Protocol):
    """The way to one viewer."""

    @property
    def push(self) -> Push | None:
        """Writes at once; None where there is no such way."""
        ...

    async def write(self, payload: bytes) -> bool:
        """Write ready frames as the viewer takes them; False where it has gone."""
        ...

    async def ready(self) -> bool:
        """Wait until the viewer takes more; False where it has gone."""
        ...

    def writable(self) -> bool:
        """Whether a write would not wait."""
        ...

    def alive_at(self) -> float:
        """Loop time of the last traffic, either way."""
        ...

    def abort(self) -> None:
        """Cut the connection where writing to it would wait for ever."""
        ...


class _RawOutlet:
    """Ready frames straight to the transport."""

    __slots__ = ("_connection", "push")

    def __init__(self, connection: FrameConnection) -> None:
        self._connection = connection
        self.push = connection.write_frames

    async def write(self, payload: bytes) -> bool:
        return await write_slowly(self._connection, payload)

    async def ready(self) -> bool:
        return await self._connection.drain()

    def writable(self) -> bool:
        return self._connection.takes_more

    def alive_at(self) -> float:
        return self._connection.alive_at

    def abort(self) -> None:
        self._connection.abort()


class _PlainOutlet:
    """Message by message over ASGI, where the server offers nothing better."""

    push = None

    def __init__(self, send: Send) -> None:
        self._send = send
        self._alive_at = 0.0
        self.touched()

    def touched(self) -> None:
        """There was traffic."""
        self._alive_at = asyncio.get_running_loop().time()

    async def write(self, payload: bytes) -> bool:
        try:
            for message in text_messages(payload):
                await self._send({"type": "websocket.send", "text": message.decode()})
        except OSError:
            return False
        self.touched()
        return True

    async def ready(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def alive_at(self) -> float:
        return self._alive_at

    def abort(self) -> None:
        """ASGI has no way; the server's own time-outs apply."""


class Window:
    """How far a viewer that acknowledges may be behind in drawing.

    Args:
        limit: bytes that may be unacknowledged.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sent: deque[tuple[int, int]] = deque()
        self._open_bytes = 0
        self._opened = asyncio.Event()
        self._opened.set()

    def sent(self, next_line: int, size: int) -> bool:
        """``size`` bytes of lines before ``next_line`` went out; False where it is full."""
        self._sent.append((next_line, size))
        self._open_bytes += size
        if self._open_bytes > self._limit:
            self._opened.clear()
            return False
        return True

    def acknowledged(self, line: int) -> None:
        """All lines up to ``line`` are drawn."""
        while self._sent and self._sent[0][0] <= line + 1:
            self._open_bytes -= self._sent.popleft()[1]
        if self._open_bytes <= self._limit:
            self._opened.set()

    async def wait(self) -> None:
        """Wait until there is room."""
        await self._opened.wait()

    def open_for_good(self) -> None:
        """The viewer has gone: nobody needs to wait."""
        self._limit = 1 << 62
        self._opened.set()


class Viewing:
    """One viewer at one stream, from `connected` to the end."""

    __slots__ = ("_outlet", "_reader", "_window", "ending", "gone", "idle")

    def __init__(self, outlet: Outlet, reader: Reader, window: Window | None) -> None:
        self._outlet = outlet
        self._reader = reader
        self._window = window
        self.gone = False
        self.idle = False
        self.ending: Ending | None = None
        if outlet.push is not None:
            reader.push = outlet.push if window is None else self._pushed

    async def run(self) -> None:
        """Write everything to the log's end, as fast as the viewer takes it."""
        while not self.gone and (payload := await self._reader.next()) is not None:
            if payload and not await self._write(payload):
                self.gone = True
                return
            if self._window is not None:
                await self._window.wait()
            if not await self._outlet.ready():
                self.gone = True
                return

    def heard(self, message: str | bytes | None) -> None:
        """The viewer said something, or (None) has gone."""
        if message is None:
            self.gone = True
            self.stop()
            return
        if self._window is None:
            return
        try:
            said = _acknowledgements.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if said.type == "ack":
            self._window.acknowledged(said.line)

    def stop(self) -> None:
        """End `run` soon."""
        self._reader.stop()
        if self._window is not None:
            self._window.open_for_good()

    def end(self, ending: Ending) -> None:
        """The viewer may not read any more."""
        self.ending = ending
        self.stop()
        if not self._outlet.writable():
            # nothing more gets through to say why
            self._outlet.abort()

    async def _write(self, payload: bytes) -> bool:
        if self._window is not None:
            self._window.sent(self._reader.line, len(payload))
        return await self._outlet.write(payload)

    def _pushed(self, payload: bytes) -> bool:
        push, window = self._outlet.push, self._window
        if push is None or window is None:
            return False
        room = window.sent(self._reader.line, len(payload))
        return push(payload) and room


class _IdleTimer:
    """Stops a viewing after so long without traffic either way."""

    __slots__ = ("_handle", "_loop", "_outlet", "_seconds", "_viewing")

    def __init__(self, viewing: Viewing, outlet: Outlet, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._viewing = viewing
        self._outlet = outlet
        self._seconds = seconds
        self._handle = self._loop.call_later(seconds, self._look)

    def cancel(self) -> None:
        """Stop nothing any more."""
        self._handle.cancel()

    def _look(self) -> None:
        rest = self._outlet.alive_at() + self._seconds - self._loop.time()
        if rest <= 0:
            self._viewing.idle = True
            self._viewing.stop()
            if not self._outlet.writable():
                # nothing more gets through to say why
                self._outlet.abort()
        else:
            self._handle = self._loop.call_later(rest, self._look)


@dataclass(frozen=True, slots=True)
class _Terms:
    """How long one viewer may be quiet, and how far it may be behind in drawing."""

    idle_seconds: float
    window: Window | None


class OutputSocket:
    """A task's output from any line on, live, to its end."""

    permission = Permission.READ

    def __init__(
        self,
        deps: LogApiDeps,
        wish_of: WishOf = output_wish,
        described: Described = STREAM,
    ) -> None:
        self._deps = deps
        self._wish_of = wish_of
        self.described = described

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket; refusals are HTTP answers before the upgrade."""
        connection = HTTPConnection(scope)
        try:
            visitor, wish = await self._admit(connection)
        except SluiceError as error:
            await problem_of(error)(scope, receive, send)
            return
        try:
            reading = self._deps.tails.read(wish.task_id, wish.dialect, wish.start)
            async with reading as reader:
                await receive()
                await send({"type": "websocket.accept"})
                terms = self._terms(visitor, wish)
                await self._follow(scope, receive, send, reader, terms)
        except SluiceError as error:
            await problem_of(error)(scope, receive, send)
        finally:
            self._deps.admission.leave(visitor)

    async def _admit(self, connection: HTTPConnection) -> tuple[Visitor, Wish]:
        await authorize(connection, Permission.READ, late=True)
        wish = self._wish_of(connection)
        principal = await permit_named(connection, task_id=wish.task_id)
        task = await self._deps.tasks.task(wish.task_id)
        visitor = visitor_of(connection, principal, task)
        self._deps.admission.enter(visitor)
        return visitor, wish

    def _terms(self, visitor: Visitor, wish: Wish) -> _Terms:
        limits = self._deps.limits
        idle = limits.script_idle_seconds if visitor.script else limits.idle_seconds
        if not wish.acknowledges:
            return _Terms(idle, None)
        return _Terms(idle, Window(limits.unacknowledged_bytes))

    async def _follow(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        reader: Reader,
        terms: _Terms,
    ) -> None:
        window, idle = terms.window, terms.idle_seconds
        connection = frame_connection(scope)
        if connection is not None:
            raw = _RawOutlet(connection)
            viewing = Viewing(raw, reader, window)
            with ending_with_caller(HTTPConnection(scope), viewing.end):
                connection.listen(viewing.heard)
                await self._show(send, reader, viewing, raw, idle)
            return
        plain = _PlainOutlet(send)
        viewing = Viewing(plain, reader, window)
        with ending_with_caller(HTTPConnection(scope), viewing.end):
            async with asyncio.TaskGroup() as group:
                ears = group.create_task(_listen(receive, viewing, plain))
                await self._show(send, reader, viewing, plain, idle)
                ears.cancel()

    async def _show(
        self,
        send: Send,
        reader: Reader,
        viewing: Viewing,
        outlet: Outlet,
        idle_seconds: float,
    ) -> None:
        """`connected`, everything there is, and the last words."""
        message = reader.dialect.message
        hello = Connected(
            reader.tail.view.record.task_id,
            new_client_id(),
            rfc3339(self._deps.clock.now()),
        )
        timer = _IdleTimer(viewing, outlet, idle_seconds)
        last: Frame | None = None
        code = CLOSE_NORMAL
        try:
            viewing.gone = not await outlet.write(message(hello))
            await viewing.run()
            last = reader.tail.end
        except SluiceError as error:
            last, code = StreamError(error.code, error.detail), CLOSE_ERROR
        finally:
            timer.cancel()
        if viewing.idle:
            last, code = _idle(idle_seconds), CLOSE_GOING_AWAY
        reason = ""
        if viewing.ending is not None:
            code, reason = viewing.ending.close, viewing.ending.why
            last = StreamError(viewing.ending.code, reason)
        if viewing.gone or last is None:
            return
        await outlet.write(message(last))
        await send({"type": "websocket.close", "code": code, "reason": reason})


async def _listen(receive: Receive, viewing: Viewing, outlet: _PlainOutlet) -> None:
    while True:
        message = await receive()
        outlet.touched()
        if message["type"] == "websocket.disconnect":
            viewing.heard(None)
            return
        viewing.heard(message.get("text") or message.get("bytes") or b"")


def _idle(seconds: float) -> StreamError:
    return StreamError(
        "idle",
        f"There was no traffic for {seconds:.0f} s; follow again from the last line.",
    )
