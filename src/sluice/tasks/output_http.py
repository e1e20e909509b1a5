"""Live output over plain HTTP, for where a proxy lets no WebSocket through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from sluice.auth.guard import guarded, principal_of
from sluice.auth.live import Ending, ending_with_caller
from sluice.auth.permissions import Permission
from sluice.base.clock import rfc3339
from sluice.base.errors import SluiceError
from sluice.base.ids import new_client_id
from sluice.edge.stopping import told_of_stop
from sluice.logs.dialects import DialectName
from sluice.logs.lane import Reader
from sluice.logs.tails import Start, from_line, from_offset
from sluice.tasks.log_described import EVENTS, FOLLOW
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.output_query import (
    StreamFormat,
    stream_query,
    task_id_of,
    visitor_of,
    whole_number,
)
from sluice.wire.stream import Connected, StreamError

# no proxy may hold lines back, and none may keep them
_HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}
_ALIVE = b": \n\n"
_EVENTS = "text/event-stream"
_TEXT = "text/plain; charset=utf-8"
# who may not read any more is told so, if they take it within this time
_LAST_WORDS_SECONDS = 1.0

_DIALECTS = {
    StreamFormat.LIVE: DialectName.LIVE_SSE,
    StreamFormat.BATCH: DialectName.BATCH_SSE,
}


class _Following:
    """One follower's reader, which the server's stop cuts short, or the end of its rights.

    Where the log is over when the server stops only its rest is left: that is written to
    its end.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.cut = False
        self.ending: Ending | None = None
        self._limit = asyncio.timeout(None)
        self._begun = False

    def stop(self) -> None:
        """The server stops: the follower goes on at another one."""
        if self.reader.tail.end is None:
            self.cut = True
            self.reader.stop()

    def end(self, ending: Ending) -> None:
        """The follower may not read any more."""
        if self.ending is None:
            self.ending = ending
            self.cut = True
            self.reader.stop()
            self._hurry()

    def _hurry(self) -> None:
        if self._begun:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + _LAST_WORDS_SECONDS)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Write in this block: it ends soon after the follower's rights have."""
        try:
            async with self._limit:
                self._begun = True
                if self.ending is not None:
                    self._hurry()
                yield
        except TimeoutError:
            self.reader.stop()


class _Held(StreamingResponse):
    """A streaming answer that gives its reader back, whether or not it was ever begun."""

    def __init__(
        self,
        held: tuple[AsyncExitStack, _Following],
        content: AsyncIterator[bytes],
        media_type: str,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=_HEADERS)
        self._stack, self._following = held

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack, self._following.bounded():
            await super().__call__(scope, receive, send)


class _HeldText(_Held):
    """Plain text has no word for "not the end": cut short, it ends in the middle of HTTP."""

    def __init__(self, stack: AsyncExitStack, following: _Following) -> None:
        super().__init__((stack, following), _text_bytes(following.reader), _TEXT)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def honest(message: Message) -> None:
            if not self._following.cut or message.get("more_body", True):
                await send(message)

        await super().__call__(scope, receive, honest)


class OutputStreams:
    """The routes of live output without WebSockets."""

    def __init__(self, deps: LogApiDeps) -> None:
        self._deps = deps
        read = Permission.READ
        self.events = guarded(read, described=EVENTS)(self._events)
        self.follow = guarded(read, described=FOLLOW)(self._follow)

    async def _events(self, request: Request) -> Response:
        """Server-sent events; an event's id is the number of its last line."""
        query = stream_query(request)
        if request.method == "HEAD":
            return Response(media_type=_EVENTS, headers=_HEADERS)
        stack, following = await self._open(
            request, _DIALECTS[query.form], from_line(query.after)
        )
        return _Held((stack, following), self._event_bytes(following), _EVENTS)

    async def _follow(self, request: Request) -> Response:
        """The log's bytes as they are, from an offset or behind a line, to its end."""
        start = _text_start(request)
        if request.method == "HEAD":
            return Response(media_type=_TEXT, headers=_HEADERS)
        return _HeldText(*await self._open(request, DialectName.TEXT, start))

    async def _open(
        self, request: Request, dialect: DialectName, start: Start
    ) -> tuple[AsyncExitStack, _Following]:
        """A reader, admitted; whoever gets the stack closes it."""
        task_id = task_id_of(request)
        task = await self._deps.tasks.task(task_id)
        visitor = visitor_of(request, principal_of(request), task)
        async with AsyncExitStack() as stack:
            self._deps.admission.enter(visitor)
            stack.callback(self._deps.admission.leave, visitor)
            reader = await stack.enter_async_context(
                self._deps.tails.read(task_id, dialect, start)
            )
            following = _Following(reader)
            stack.enter_context(told_of_stop(request.scope, following.stop))
            stack.enter_context(ending_with_caller(request, following.end))
            return stack.pop_all(), following
        raise AssertionError("unreachable")

    async def _event_bytes(self, following: _Following) -> AsyncIterator[bytes]:
        reader = following.reader
        message = reader.dialect.message
        limits = self._deps.limits
        now = rfc3339(self._deps.clock.now())
        task_id = reader.tail.view.record.task_id
        yield message(Connected(task_id, new_client_id(), now))
        quiet = 0.0
        while quiet < limits.idle_seconds:
            try:
                async with asyncio.timeout(limits.heartbeat_seconds):
                    payload = await reader.next()
            except TimeoutError:
                quiet += limits.heartbeat_seconds
                yield _ALIVE
                continue
            except SluiceError as error:
                yield message(StreamError(error.code, error.detail))
                return
            quiet = 0.0
            if payload is None:
                break
            yield payload
        if following.ending is not None:
            yield message(StreamError(following.ending.code, following.ending.why))
        elif reader.tail.end is not None and not following.cut:
            yield message(reader.tail.end)


async def _text_bytes(reader: Reader) -> AsyncIterator[bytes]:
    while (payload := await reader.next()) is not None:
        yield payload


def _text_start(request: Request) -> Start:
    params = request.query_params
    if "offset" in params:
        return from_offset(whole_number("offset", params["offset"]))
    after = params.get("after")
    return from_line(None if after is None else whole_number("after", after))
