"""Tells open requests that the server stops, so that long polls end at once."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Stopping:
    """Whether the server stops; ``wake`` is called when that begins."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.begun = False

    def begin(self) -> None:
        """Say so to all requests that wait."""
        if not self.begun:
            self.begun = True
            self._wake()


class EndLongPolls:
    """While the server stops, a request whose body is in looks as if its client had gone.

    A handler that waits (`request.is_disconnected`) ends then; one that works goes on.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        whole = False

        async def told() -> Message:
            nonlocal whole
            if whole and self._stopping.begun:
                return {"type": "http.disconnect"}
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        await self._app(scope, told, send)
