"""What every WebSocket passes before its route sees it: where its page is from, and its token.

A browser lets any page open a WebSocket to any server, and puts no `Authorization` header
on it. So the page's origin is checked, and the token may come as a sub-protocol:
`Sec-WebSocket-Protocol: sluice.v1, bearer.TOKEN`. Routes see it as the header that it
stands for; the answer names `sluice.v1` and never the token.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.base.errors import ForbiddenError, InvalidInputError, SluiceError
from sluice.edge.problems import problem_of

PROTOCOL = "sluice.v1"
BEARER = "bearer."
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(address: str) -> str | None:
    """``address`` as browsers write an origin: `https://host`, with a port if unusual.

    None where it has no scheme or host, such as the `null` of a page without an origin.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if not scheme or not host:
        return None
    host = f"[{host}]" if ":" in host else host
    usual = port is None or port == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" if usual else f"{scheme}://{host}:{port}"


class CheckUpgrades:
    """Refuses WebSockets of strange pages, and takes tokens out of sub-protocols.

    Args:
        app: what is around it.
        allowed_origins: pages of other hosts that may open WebSockets, see `origin_of`.
    """

    def __init__(self, app: ASGIApp, allowed_origins: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the WebSocket on, or refuse it before the upgrade."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        try:
            self._check_origin(Headers(scope=scope))
            speaks = _take_token(scope)
        except SluiceError as error:
            await problem_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, _naming_protocol(send) if speaks else send)

    def _check_origin(self, headers: Headers) -> None:
        """A program sends no origin; a page of this very host is at home."""
        for given in headers.getlist("origin"):
            origin = origin_of(given)
            if origin is not None:
                scheme = origin.partition(":")[0]
                home = origin_of(f"{scheme}://{headers.get('host', '')}")
                if origin == home or origin in self._allowed:
                    continue
            raise ForbiddenError(
                f"A page of {given!r} may not open WebSockets here; its origin has to stand"
                " in the server's setting allowed_origins (SLUICE_ALLOWED_ORIGINS)."
            )


def _take_token(scope: Scope) -> bool:
    """Turn an offered `bearer.TOKEN` into the header; whether `sluice.v1` is offered.

    The scope itself is changed: nothing behind this sees the token as a protocol.

    Raises:
        InvalidInputError: only the token is offered, so there is nothing to answer with.
    """
    offered: list[str] = scope.get("subprotocols", [])
    tokens = [one for one in offered if one.startswith(BEARER)]
    if not tokens:
        return PROTOCOL in offered
    if PROTOCOL not in offered:
        raise InvalidInputError(
            f"The sub-protocol {BEARER}TOKEN came alone; offer `{PROTOCOL}` beside it,"
            " because the answer has to name one and never names the token."
        )
    scope["subprotocols"] = [one for one in offered if one not in tokens]
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name.lower() != b"sec-websocket-protocol"
    ]
    if not any(name.lower() == b"authorization" for name, _ in headers):
        token = tokens[0].removeprefix(BEARER)
        headers.append((b"authorization", f"Bearer {token}".encode("latin-1")))
    scope["headers"] = headers
    return True


def _naming_protocol(send: Send) -> Send:
    async def named(message: Message) -> None:
        if message["type"] == "websocket.accept":
            message["subprotocol"] = PROTOCOL
        await send(message)

    return named
