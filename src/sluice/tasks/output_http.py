"""Live output over plain HTTP, for where a proxy lets no WebSocket through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from sluice.auth.guard import guarded, principal_of
from sluice.auth.policy import Permission
from sluice.base.clock import rfc3339
from sluice.base.errors import SluiceError
from sluice.base.ids import new_client_id
from sluice.logs.dialects import DialectName
from sluice.logs.lane import Reader
from sluice.logs.tails import Start, from_line, from_offset
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

_DIALECTS = {
    StreamFormat.LIVE: DialectName.LIVE_SSE,
    StreamFormat.BATCH: DialectName.BATCH_SSE,
}


class _Held(StreamingResponse):
    """A streaming answer that gives its reader back, whether or not it was ever begun."""

    def __init__(
        self, stack: AsyncExitStack, content: AsyncIterator[bytes], media_type: str
    ) -> None:
        super().__init__(content, media_type=media_type, headers=_HEADERS)
        self._stack = stack

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


class OutputStreams:
    """The routes of live output without WebSockets."""

    def __init__(self, deps: LogApiDeps) -> None:
        self._deps = deps
        read = guarded(Permission.READ)
        self.events = read(self._events)
        self.follow = read(self._follow)

    async def _events(self, request: Request) -> Response:
        """Server-sent events; an event's id is the number of its last line."""
        query = stream_query(request)
        if request.method == "HEAD":
            return Response(media_type=_EVENTS, headers=_HEADERS)
        stack, reader = await self._open(
            request, _DIALECTS[query.form], from_line(query.after)
        )
        return _Held(stack, self._event_bytes(reader), _EVENTS)

    async def _follow(self, request: Request) -> Response:
        """The log's bytes as they are, from an offset or behind a line, to its end."""
        start = _text_start(request)
        if request.method == "HEAD":
            return Response(media_type=_TEXT, headers=_HEADERS)
        stack, reader = await self._open(request, DialectName.TEXT, start)
        return _Held(stack, _text_bytes(reader), _TEXT)

    async def _open(
        self, request: Request, dialect: DialectName, start: Start
    ) -> tuple[AsyncExitStack, Reader]:
        """A reader, admitted; whoever gets the stack closes it."""
        task_id = task_id_of(request)
        await self._deps.tasks.task(task_id)
        visitor = visitor_of(request, principal_of(request))
        async with AsyncExitStack() as stack:
            self._deps.admission.enter(visitor)
            stack.callback(self._deps.admission.leave, visitor)
            reader = await stack.enter_async_context(
                self._deps.tails.read(task_id, dialect, start)
            )
            return stack.pop_all(), reader
        raise AssertionError("unreachable")

    async def _event_bytes(self, reader: Reader) -> AsyncIterator[bytes]:
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
        if reader.tail.end is not None:
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
