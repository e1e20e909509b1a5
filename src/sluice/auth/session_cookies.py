"""The cookie that keeps a page signed in: its name, its marks, and what has to come with it."""

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response

from sluice.auth.keyring import derive
from sluice.base.errors import ForbiddenError
from sluice.edge.upgrade import origin_of

CSRF_HEADER = "x-csrf-token"
_NAME = "sluice_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_FETCH = frozenset({"same-origin", "none"})


def session_keys(masters: Sequence[bytes]) -> tuple[bytes, ...]:
    """Keys for what goes with sessions, of the encryption keys, the present one first."""
    return tuple(derive(master, "sluice session v1") for master in masters)


class SessionCookies:
    """What the server says and asks where a page signs in with a cookie.

    Args:
        keys: what `session_keys` makes of the server's encryption keys.
        public_url: under which pages reach the server; `https` makes the cookie secure.
    """

    def __init__(self, keys: Sequence[bytes], public_url: str) -> None:
        self._keys = tuple(keys)
        self._public = origin_of(public_url)
        self.secure = urlsplit(public_url).scheme == "https"
        self.name = f"__Host-{_NAME}" if self.secure else _NAME

    def secret_of(self, connection: HTTPConnection) -> str:
        """The session's secret that came with a request; empty where none came."""
        return connection.cookies.get(self.name, "")

    def csrf_of(self, secret: str) -> str:
        """What `X-CSRF-Token` has to hold beside this session's cookie."""
        return _signed(self._keys[0], secret)

    def check(self, connection: HTTPConnection, secret: str) -> None:
        """See that a request with the cookie is the page's own doing.

        Raises:
            ForbiddenError: another page may have sent it.
        """
        headers = connection.headers
        if connection.scope["type"] == "websocket":
            # which origins may is judged for every WebSocket (`edge/upgrade.py`)
            if not headers.get("origin"):
                raise ForbiddenError(
                    "The WebSocket came with a session's cookie and without an Origin,"
                    " which browsers always send; use a token or a ticket instead."
                )
            return
        unsafe = connection.scope["method"] not in _SAFE
        self.check_origin(headers, unsafe=unsafe)
        if unsafe:
            self._check_csrf(headers, secret)

    def check_origin(self, headers: Headers, *, unsafe: bool) -> None:
        """See that the page is one of this server's own, as far as the browser says.

        Raises:
            ForbiddenError: it is another's.
        """
        for given in headers.getlist("origin"):
            if not self._is_own(given, headers.get("host", "")):
                raise ForbiddenError(
                    f"A page of {given!r} may not use the session of a page of this"
                    " server; call with a token instead."
                )
        site = headers.get("sec-fetch-site", "none")
        if unsafe and site not in _OWN_FETCH:
            raise ForbiddenError(
                f"The browser says that the request is {site!r}; with a session's cookie"
                " it has to come from a page of this server. Call with a token instead."
            )

    def _is_own(self, given: str, host: str) -> bool:
        origin = origin_of(given)
        if origin is None:
            return False
        home = origin_of(f"{origin.partition(':')[0]}://{host}")
        return origin in {home, self._public}

    def _check_csrf(self, headers: Headers, secret: str) -> None:
        given = headers.get(CSRF_HEADER, "").encode()
        wanted = (_signed(key, secret).encode() for key in self._keys)
        # every one is compared, so that the time says nothing
        if not sum(hmac.compare_digest(given, one) for one in wanted):
            raise ForbiddenError(
                "A request with a session's cookie that changes something needs the header"
                " X-CSRF-Token; GET /api/v1/auth/session says what it has to hold."
            )

    def put(self, response: Response, secret: str, seconds: int) -> None:
        """Give the browser the cookie."""
        self._set(response, secret, seconds)

    def clear(self, response: Response) -> None:
        """Take the cookie from the browser."""
        self._set(response, "", 0)

    def _set(self, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            self.name,
            value,
            max_age=seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )


def _signed(key: bytes, secret: str) -> str:
    return hmac.new(key, b"csrf:" + secret.encode(), hashlib.sha256).hexdigest()
