"""What happens around every request: an id, bound log fields, counters and durations."""

import re
import secrets
import time
from collections.abc import Collection

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.base.errors import InvalidInputError
from sluice.edge.problems import problem_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_logger = structlog.get_logger(__name__)


class RequestMetrics:
    """Counts and times HTTP requests by route template, so that ids make no new series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "sluice_http_requests_total",
            "HTTP requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "sluice_http_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
            registry=registry,
        )


class RequestScope:
    """Gives each request an id (the client's, where it sends a sane one), logs and counts it."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        started = time.perf_counter()
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] in {
                "http.response.start",
                "websocket.http.response.start",
            }:
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, observed)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope.get("method", "WEBSOCKET")
        route = getattr(scope.get("route"), "path", "(none)")
        self._metrics.requests.labels(method, route, str(status)).inc()
        if scope["type"] == "http":
            self._metrics.seconds.labels(method, route).observe(seconds)
        if scope["path"] in _QUIET:
            return
        _logger.debug(
            "request",
            method=method,
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )


class RefuseNul:
    """Refuses a NUL in path or query: no id or name has one, and PostgreSQL stores none.

    Args:
        app: what is around it.
        judged_there: paths whose routes refuse it themselves, in their own words.
    """

    def __init__(self, app: ASGIApp, judged_there: Collection[str] = ()) -> None:
        self._app = app
        self._judged_there = frozenset(judged_there)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything else on."""
        if scope["type"] in {"http", "websocket"} and (
            "\0" in scope["path"]
            or (
                b"%00" in scope["query_string"]
                and scope["path"] not in self._judged_there
            )
        ):
            refusal = InvalidInputError(
                "The address has a NUL character (%00); leave it out."
            )
            await problem_of(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
