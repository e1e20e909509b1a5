"""Headers that keep browsers from making more of an answer than data: on every answer."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""What an answer has, unless its route says something else of its own."""

HSTS = "max-age=31536000"
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_SCRIPT = "text/javascript"
_OF_PAGES = ("content-security-policy", "x-frame-options")


class SecurityHeaders:
    """Puts `HEADERS` on every answer, refusals of WebSockets among them.

    An answer is data: no page of it may run scripts, be framed, be read as another type, or
    stay in a cache. A script that is made for other pages keeps what is said of pages off.

    Args:
        app: what is around it.
        https: whether people reach the server by https, so that browsers may insist on it.
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                self._add(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, with_headers)

    def _add(self, headers: MutableHeaders) -> None:
        is_script = headers.get("content-type", "").startswith(_SCRIPT)
        for name, value in HEADERS.items():
            if not (is_script and name in _OF_PAGES):
                headers.setdefault(name, value)
        if self._https:
            headers.setdefault("strict-transport-security", HSTS)
