"""Runs the service: listens, works, and ends in order on a signal."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from sluice.base.clock import SystemClock
from sluice.base.errors import UnavailableError
from sluice.receiver.app import Door, new_app
from sluice.receiver.calls import Trust
from sluice.receiver.jobs import Jobs
from sluice.receiver.platform_client import Patience, PlatformClient, open_client
from sluice.receiver.ports import Reviewer
from sluice.receiver.work import Limits, Worker
from sluice.wire.run_task import RunTaskStage

_log = structlog.get_logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WAITING_FOR_EACH = 50
_HTTP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Service:
    """What to serve, and how.

    Attributes:
        reviewer: who looks at plans.
        stages: gates at which it answers.
        trust: whose calls are taken.
        host: the address to listen on.
        port: the port; 0 takes any free one.
        at_once: how many reviews run at a time.
        max_plan_bytes: no larger plan is taken.
        drain_seconds: how long a stop waits for reviews.
        limits: what one review may take.
        patience: with a platform that does not answer.
    """

    reviewer: Reviewer
    stages: frozenset[RunTaskStage]
    trust: Trust
    host: str
    port: int
    at_once: int
    max_plan_bytes: int
    drain_seconds: float
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)


class _Stop:
    """The first signal asks for an orderly end, the next for a quick one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def received(self) -> None:
        if self.asked.is_set():
            self.hurry.set()
        self.asked.set()


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to us."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_stopped(service: Service) -> None:
    """Serve until SIGTERM or SIGINT; then end the reviews that run, and end.

    Raises:
        UnavailableError: the address cannot be listened on.
    """
    with _listening(service.host, service.port) as listener, _signals() as stop:
        async with open_client() as client, asyncio.TaskGroup() as group:
            platform = PlatformClient(
                client,
                patience=service.patience,
                max_plan_bytes=service.max_plan_bytes,
            )
            worker = Worker(
                platform,
                service.reviewer,
                stages=service.stages,
                limits=service.limits,
                at_once=service.at_once,
            )
            most = service.at_once * _WAITING_FOR_EACH
            jobs = Jobs(worker.work, group, most=most)
            door = Door(trust=service.trust, jobs=jobs, clock=SystemClock())
            server = _Server(_config(new_app(door)))
            group.create_task(server.serve(sockets=[listener]))
            _log.info("listening", url=_url(listener), stages=sorted(service.stages))
            await stop.asked.wait()
            _log.info("stopping")
            server.should_exit = True
            await jobs.drain(service.drain_seconds, stop.hurry)
    _log.info("stopped")


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_HTTP_SECONDS,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            raise UnavailableError(
                f"Cannot listen on {host}:{port} ({error.strerror}); choose another place"
                " with --host and --port."
            ) from None
        listener.setblocking(False)
        yield listener


@contextlib.contextmanager
def _signals() -> Iterator[_Stop]:
    loop = asyncio.get_running_loop()
    stop = _Stop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.received)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
