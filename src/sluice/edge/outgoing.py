"""Calls addresses that users typed, and connects to none that may not be called.

A name is resolved once for each new connection, every address it has is judged, and the
connection goes to a judged address itself, so no second answer of DNS counts; TLS and the
`Host` header keep the URL's name. Redirects are not followed, proxies of the environment
not used, cookies not kept. Of an answer only the status comes back.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import anyio
import h11
import httpcore2
import httpx2

from sluice.base.errors import InvalidInputError
from sluice.edge.addresses import literal_of, parsed_cidrs, parsed_url
from sluice.edge.outgoing_network import (
    CONNECT_SECONDS,
    CheckedBackend,
    OutgoingFailedError,
    OutgoingRefusedError,
    Resolve,
    Resolver,
    TooMuchError,
    check_addresses,
    words_of,
)

__all__ = ["Outgoing", "OutgoingFailedError", "OutgoingRefusedError"]

DRAIN_SECONDS = 5.0
MAX_BODY = 64 * 1024
_KEPT_ALIVE = 20
_KEPT_SECONDS = 15.0
_OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "transfer-encoding",
    }
)
# the first that fits; nothing of what the far side sent, and nothing of the request's headers
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpcore2.PoolTimeout, "all connections are in use by other calls"),
    (httpcore2.ConnectTimeout, "no connection in time"),
    (httpcore2.TimeoutException, "it fell silent"),
    (TooMuchError, "it sends more than an answer needs"),
    (httpcore2.LocalProtocolError, "the request cannot be sent in HTTP"),
    (httpcore2.ProtocolError, "it closed the connection, or what it sends is no HTTP"),
    (h11.ProtocolError, "it closed the connection, or what it sends is no HTTP"),
)
_FAILURES = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ConnectionNotAvailable,
    h11.ProtocolError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)


class Outgoing:
    """One client for all such calls, with a bounded pool. Close it, or use `async with`.

    Args:
        allowed_cidrs: ranges that administrators opened beside the public ones.
        allow_http: whether `http://` is called too.
        tls: what trusts certificates; by default the machine's authorities, or those of
            `SSL_CERT_FILE` and `SSL_CERT_DIR`.
        resolve: finds the addresses of a name; by default the machine's resolver.
        connections: open at most at once; further calls wait, within their time.

    Raises:
        ValueError: one of ``allowed_cidrs`` is no range.
    """

    def __init__(
        self,
        *,
        allowed_cidrs: Iterable[str] = (),
        allow_http: bool = False,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        connections: int = 200,
    ) -> None:
        self._allow_http = allow_http
        self._allowed = parsed_cidrs(allowed_cidrs)
        self._resolver = Resolver()
        self._closed = False
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=min(_KEPT_ALIVE, connections),
            keepalive_expiry=_KEPT_SECONDS,
            http2=False,
            retries=0,
            network_backend=CheckedBackend(resolve or self._resolver, self._allowed),
        )

    async def __aenter__(self) -> Self:
        """Ready to call."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        self._closed = True
        self._resolver.close()
        await self._pool.aclose()

    def check_url(self, url: str) -> None:
        """Judge an endpoint's URL before it is saved, by this client's settings.

        A name is not resolved: what it leads to is judged at each call.

        Raises:
            InvalidInputError: the URL cannot be taken; names the field `endpoint_url`.
            OutgoingRefusedError: its host is an address that is not called.
        """
        host = parsed_url(url, allow_http=self._allow_http).raw_host.decode("ascii")
        literal = literal_of(host)
        if literal is not None:
            check_addresses(host, [literal], self._allowed)

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float = 30.0,  # noqa: ASYNC109 - it bounds the whole call, and cleans up
    ) -> int:
        """Send ``body`` and give back the answer's status code, whatever it is.

        Args:
            url: where to, as `check_url` takes it.
            body: sent as it is.
            headers: beside `Host`, `Accept` and what frames the body.
            timeout: seconds until the status has to be there, with all waiting. The
                answer's body is dropped; it takes no time beyond that.

        Raises:
            OutgoingRefusedError: the URL or an address of its host is not called.
            OutgoingFailedError: no status came; the detail has nothing of an answer.
        """
        try:
            target = parsed_url(url, allow_http=self._allow_http)
        except InvalidInputError as error:
            raise OutgoingRefusedError(error.detail) from None
        where = f"{target.scheme}://{target.netloc.decode('ascii')}"
        if self._closed:
            raise OutgoingFailedError(f"{where} was not called: the server stops.")
        request = _request(target, body, headers, timeout)
        try:
            return await self._status(request, timeout)
        except TimeoutError:
            raise OutgoingFailedError(
                f"{where} gave no answer within {timeout:g} seconds."
            ) from None
        except _FAILURES as error:
            raise OutgoingFailedError(
                f"{where} gave no answer: {_why(error)}."
            ) from None

    async def _status(self, request: httpcore2.Request, seconds: float) -> int:
        async with asyncio.timeout(seconds) as limit:
            deadline = limit.when()
            answer = await self._pool.handle_async_request(request)
            try:
                # the status is known: from here on time may end the body, never the call
                limit.reschedule(None)
                await _drop_body(answer, deadline)
            finally:
                await answer.aclose()
            return answer.status


def _request(
    target: httpx2.URL, body: bytes, headers: Mapping[str, str], seconds: float
) -> httpcore2.Request:
    sent = [
        (b"Host", target.netloc),
        (b"Content-Length", b"%d" % len(body)),
        (b"Accept", b"*/*"),
        # only the status counts, so nothing is ever to be unpacked
        (b"Accept-Encoding", b"identity"),
        *(
            (name.encode(), value.encode())
            for name, value in headers.items()
            if name.lower() not in _OURS
        ),
    ]
    return httpcore2.Request(
        method=b"POST",
        url=httpcore2.URL(
            scheme=target.raw_scheme,
            host=target.raw_host,
            port=target.port,
            target=target.raw_path,
        ),
        headers=sent,
        content=body,
        extensions={
            "timeout": {
                "connect": min(CONNECT_SECONDS, seconds),
                "read": seconds,
                "write": seconds,
                "pool": seconds,
            },
            # certificates name hosts without DNS's closing dot
            "sni_hostname": target.raw_host.decode("ascii").removesuffix("."),
        },
    )


async def _drop_body(answer: httpcore2.Response, deadline: float | None) -> None:
    """Read a short body, so that the connection can be used again; leave a long one."""
    now = asyncio.get_running_loop().time()
    until = (
        now + DRAIN_SECONDS if deadline is None else min(deadline, now + DRAIN_SECONDS)
    )
    seen = 0
    with contextlib.suppress(TimeoutError, *_FAILURES):
        async with (
            asyncio.timeout_at(until),
            contextlib.aclosing(answer.aiter_stream()) as parts,
        ):
            async for part in parts:
                seen += len(part)
                if seen > MAX_BODY:
                    break


def _why(error: Exception) -> str:
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    root: BaseException = error
    if error.args and isinstance(error.args[0], Exception):
        root = error.args[0]
    while root.__cause__ is not None:
        root = root.__cause__
    return words_of(root)
