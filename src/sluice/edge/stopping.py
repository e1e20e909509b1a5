"""Tells open requests that the server stops, so that long polls and followers end at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCOPE_KEY = "sluice.stopping"


class Stopping:
    """Whether the server stops; ``wake`` is called when that begins."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._told: dict[object, Callable[[], None]] = {self: wake}
        self.begun = False

    def begin(self) -> None:
        """Say so to all requests that wait."""
        if not self.begun:
            self.begun = True
            for tell in list(self._told.values()):
                tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """While the block runs, ``tell`` is called when the stop begins, or has begun."""
        key = object()
        self._told[key] = tell
        try:
            if self.begun:
                tell()
            yield
        finally:
            del self._told[key]


@contextmanager
def told_of_stop(scope: Scope, tell: Callable[[], None]) -> Iterator[None]:
    """`Stopping.telling` for the server that handles this request."""
    stopping: Stopping | None = scope.get(_SCOPE_KEY)
    if stopping is None:
        yield
        return
    with stopping.telling(tell):
        yield


class EndLongPolls:
    """While the server stops, a request whose body is in looks as if its client had gone.

    A handler that waits (`request.is_disconnected`) ends then; one that works goes on. One
    that would go on for ever asks to be told (`told_of_stop`).
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_SCOPE_KEY] = self._stopping
        whole = False

        async def told() -> Message:
            nonlocal whole
            if whole and self._stopping.begun:
                return {"type": "http.disconnect"}
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        await self._app(scope, told, send)
