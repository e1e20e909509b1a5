"""uvicorn, set up for streams and driven from our own loop and signals."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from sluice.base.errors import UnavailableError
from sluice.edge.stopping import Stopping
from sluice.edge.websocket import FrameProtocol
from sluice.server.settings import ServerSettings

WS_MAX_BYTES = 4 * 1024 * 1024
KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers; stops when told, long polls first."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._accepting = asyncio.Event()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs this server."""
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell those who wait for it."""
        await super().startup(sockets)
        self._accepting.set()

    async def until_started(self) -> None:
        """Wait until connections are accepted."""
        await self._accepting.wait()

    def stop(self) -> None:
        """Take no more connections, end long polls, and finish what is open."""
        self._stopping.begin()
        self.should_exit = True


def http_server(
    app: ASGIApp, settings: ServerSettings, stopping: Stopping
) -> HttpServer:
    """A server for ``app``; the listening socket is handed to its `serve`."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws=FrameProtocol,
        ws_max_size=WS_MAX_BYTES,
        # A viewer that is suspended does not answer pings and is not gone: it may be as
        # quiet as any idle one.
        ws_ping_interval=settings.heartbeat_seconds,
        ws_ping_timeout=settings.stream_idle_seconds,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    return HttpServer(config, stopping)


def listen(settings: ServerSettings) -> socket.socket:
    """The listening socket; port 0 takes any free one.

    Raises:
        UnavailableError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another with SLUICE_HOST and SLUICE_PORT."
        ) from None
    listener.setblocking(False)
    return listener
