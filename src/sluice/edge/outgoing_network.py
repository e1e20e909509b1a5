"""Connects to judged addresses only, bounds what they send, and leaves no socket behind."""

import asyncio
import contextlib
import errno
import os
import queue
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpcore2
from typing_extensions import override

from sluice.base.errors import SluiceError
from sluice.edge.addresses import Address, Network, literal_of, refusal_of, unscoped

RESOLVE_SECONDS = 10.0
CONNECT_SECONDS = 10.0
# headers, 1xx answers, body and its framing; the parser itself ends at 100 KiB of headers
MAX_ANSWER = 512 * 1024
_RESOLVERS = 8
_TRIED_ADDRESSES = 8

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to all its addresses; raises OSError where it has none."""


class OutgoingRefusedError(SluiceError):
    """The address of an outgoing call is not allowed; the detail names what would open it."""

    code = "address_refused"
    status = 422
    title = "Address refused"


class OutgoingFailedError(SluiceError):
    """An outgoing call got no answer: no connection, broken TLS, or nothing in time."""

    code = "outgoing_failed"
    status = 502
    title = "No answer from outside"


class TooMuchError(httpcore2.RemoteProtocolError):
    """The far side sends more than any answer needs."""


def check_addresses(
    host: str, addresses: Iterable[Address], allowed: Sequence[Network]
) -> None:
    """Refuse a host if any of its addresses may not be called.

    Raises:
        OutgoingRefusedError: the detail names the first such address and what opens it.
    """
    for address in addresses:
        refusal = refusal_of(address, allowed)
        if refusal is None:
            continue
        name = None if literal_of(host) is not None else host
        raise OutgoingRefusedError(refusal.words(name), address=str(address))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to judged addresses only."""

    def __init__(self, resolve: Resolve, allowed: Sequence[Network]) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._sockets = httpcore2.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        check_addresses(host, addresses, self._allowed)
        tried = addresses[:_TRIED_ADDRESSES]
        until = anyio.current_time() + (timeout or CONNECT_SECONDS)
        failure: Exception = httpcore2.ConnectError()
        for position, address in enumerate(tried):
            share = (until - anyio.current_time()) / (len(tried) - position)
            try:
                # an address in figures: nothing below resolves it again
                stream = await self._sockets.connect_tcp(
                    str(address), port, timeout=max(share, 0.0)
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(stream)
        raise failure

    async def _addresses(self, host: str, port: int) -> list[Address]:
        literal = literal_of(host)
        if literal is not None:
            return [unscoped(literal)]
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise OutgoingFailedError(
                f"{host} was not called: its address was not found within"
                f" {RESOLVE_SECONDS:g} seconds."
            ) from None
        except (OSError, UnicodeError) as error:
            raise OutgoingFailedError(
                f"{host} was not called: it has no address ({words_of(error)})."
            ) from None
        if not found:
            raise OutgoingFailedError(f"{host} was not called: it has no address.")
        return list(dict.fromkeys(unscoped(address) for address in found))


class _BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection that reads only so much for one answer, and is closed if TLS fails."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._received = 0

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._inner.read(max_bytes, timeout)
        self._received += len(data)
        if self._received > MAX_ANSWER:
            raise TooMuchError
        return data

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._received = 0
        await self._inner.write(buffer, timeout)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()

    @override
    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException as error:
            # the pool forgets a connection whose handshake fails or is cancelled
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                raise httpcore2.ConnectError(error) from error
            raise
        return _BoundedStream(inner)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Resolver:
    """The machine's resolver, in threads of its own: it blocks, and cannot be cancelled.

    The threads are daemons: a name whose servers are silent for half a minute must not keep
    a server that ends from ending.
    """

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[_Lookup | None] = queue.SimpleQueue()
        self._open: set[asyncio.Future[list[Any]]] = set()
        self._threads = 0
        self._closed = False

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses of a host.

        Raises:
            OSError: it has none, or this is closed.
        """
        if self._closed:
            raise _stopping()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        self._open.add(answer)
        self._wanted.put(_Lookup(host, port, loop, answer))
        self._add_thread()
        try:
            found = await answer
        finally:
            self._open.discard(answer)
        return [str(address[0]) for *_, address in found]

    def close(self) -> None:
        """Resolve no more; calls that wait for an address fail."""
        self._closed = True
        for answer in self._open:
            if not answer.done():
                answer.set_exception(_stopping())
        for _ in range(self._threads):
            self._wanted.put(None)

    def _add_thread(self) -> None:
        if self._threads == _RESOLVERS:
            return
        self._threads += 1
        threading.Thread(
            target=_look_up,
            args=(self._wanted,),
            name=f"resolve-{self._threads}",
            daemon=True,
        ).start()


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    """A name to resolve, and who waits for it."""

    host: str
    port: int
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[list[Any]]"

    def settle(self, found: list[Any], error: OSError | UnicodeError | None) -> None:
        """Hand over what was found, unless nobody waits any more."""
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(found)
        else:
            self.answer.set_exception(error)


def _look_up(wanted: "queue.SimpleQueue[_Lookup | None]") -> None:
    """Resolve what is wanted until there is a None."""
    while (lookup := wanted.get()) is not None:
        if lookup.answer.done():
            continue
        found: list[Any] = []
        failure: OSError | UnicodeError | None = None
        try:
            found = _resolved(lookup.host, lookup.port)
        except (OSError, UnicodeError) as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            lookup.loop.call_soon_threadsafe(lookup.settle, found, failure)


def _stopping() -> OSError:
    return OSError(errno.ESHUTDOWN, "the server stops")


def _resolved(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def words_of(error: BaseException) -> str:
    """What the operating system, TLS or the resolver says of a failure."""
    match error:
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            return f"its certificate is not trusted ({why})"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or 'no reason given'})"
        case OSError(errno=int() as number) if number > 0:
            # not asyncio's words, which name the address again
            return os.strerror(number)
        case OSError(strerror=str() as words):
            return words
        case _:
            return "the connection broke"
