"""Lets pages of other hosts call the routes that are made for them, and no others.

Of a page of another host only a token counts: no answer allows credentials, no preflight
the header `X-CSRF-Token`, and a session's cookie is refused where another origin comes with
it (`auth/session_cookies.py`). So such a page can do no more than the token it was given.
"""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_AGE_SECONDS = 3600
_HEADERS = ("Authorization", "Content-Type", "If-None-Match", "Range")
_EXPOSED = (
    "ETag",
    "Content-Range",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-ID",
)


class CrossOrigin:
    """CORS (fetch standard) for paths that begin with ``prefix``.

    Args:
        app: what is around it.
        allowed_origins: pages of other hosts that may call.
        prefix: which routes.
    """

    def __init__(
        self, app: ASGIApp, allowed_origins: Collection[str], prefix: str
    ) -> None:
        self._app = app
        self._prefix = prefix
        self._shared = CORSMiddleware(
            app,
            allow_origins=sorted(allowed_origins),
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=_HEADERS,
            expose_headers=_EXPOSED,
            max_age=MAX_AGE_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with CORS where it is meant for pages."""
        shared = scope["type"] == "http" and scope["path"].startswith(self._prefix)
        app = self._shared if shared else self._app
        await app(scope, receive, send)
