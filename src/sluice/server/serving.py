"""Runs one server: its loops in one TaskGroup around uvicorn, and the steps of its end.

Stopping: (1) `/readyz` says so, no more connections are taken, long polls and followers end;
(2) open requests and streams get `shutdown_seconds` to end, then they are cut;
(3) the loops that look after tasks, pulls and archives end; (4) the log's writer ends, after
everybody who could write; (5) wake-ups to other servers and the database are closed.
A loop that crashes takes the same way down, so that a supervisor sees the exit.
"""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from sluice.auth.actions import issue_setup_token
from sluice.costs.loop import watch_costs
from sluice.edge.stopping import Stopping
from sluice.events.topics import STOPPING
from sluice.logs.assembly import run_archiver, run_tails, run_writer
from sluice.notifications.loop import send_notifications
from sluice.policies.loop import watch_policies
from sluice.runtasks.loop import ask_run_tasks
from sluice.scripts.loop import keep_retention
from sluice.server.app import build_app
from sluice.server.concepts import Concepts, build_concepts
from sluice.server.http import HttpServer, http_server, listen
from sluice.server.parts import Parts, open_parts, prepare_database
from sluice.server.settings import ServerSettings
from sluice.server.signing_in import forget_ended, watch_streams
from sluice.tasks.loop import watch_gates, watch_tasks

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that takes requests. ``setup_token`` where there is no user yet."""

    url: str
    port: int
    setup_token: str | None = field(repr=False)
    parts: Parts
    concepts: Concepts
    http: HttpServer


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncIterator[Serving]:
    """Serve while the block runs.

    Raises:
        SluiceError: it cannot start; the detail says what to do.
    """
    parts = open_parts(settings)
    try:
        await prepare_database(parts)
        listener = listen(settings)
        try:
            parts = _at_port_of(listener, parts)
            concepts = build_concepts(parts)
            setup_token = await issue_setup_token(concepts.auth)
            async with _running(parts, concepts, listener) as http:
                yield _as_shown(parts, concepts, http, setup_token)
        finally:
            listener.close()
    finally:
        await parts.close()
        _logger.info("stopped")


@asynccontextmanager
async def _running(
    parts: Parts, concepts: Concepts, listener: socket.socket
) -> AsyncIterator[HttpServer]:
    stopping = Stopping(lambda: parts.hub.deliver(STOPPING))
    app = build_app(parts, concepts, stopping)
    http = http_server(app, parts.settings, stopping)
    logs, relay = concepts.logs, parts.relay
    async with asyncio.TaskGroup() as group:

        def start(name: str, loop: Coroutine[None, None, None]) -> asyncio.Task[None]:
            return group.create_task(_crash_is_logged(name, loop), name=name)

        last = [start("log-writer", run_writer(logs))]
        if relay is not None:
            last.append(start("redis-relay", relay.run()))
        first = [
            start("log-tails", run_tails(logs)),
            start("log-archiver", run_archiver(logs)),
            start("watch-tasks", watch_tasks(concepts.tasks)),
            start("watch-gates", watch_gates(concepts.tasks)),
            start("ask-run-tasks", ask_run_tasks(concepts.asking)),
            start("watch-costs", watch_costs(concepts.costs)),
            start("watch-policies", watch_policies(concepts.policies)),
            start("send-notifications", send_notifications(concepts.notifications)),
            start("script-retention", keep_retention(concepts.retention)),
            start("dispatcher", concepts.agents.dispatcher.run()),
            start("watch-streams", watch_streams(parts, concepts.signing_in.live)),
            start("forget-ended", forget_ended(parts, concepts.signing_in.deps)),
        ]
        served = group.create_task(http.serve(sockets=[listener]), name="http")
        await http.until_started()
        try:
            yield http
        finally:
            http.stop()
            await asyncio.wait([served])
            await _end(first)
            await concepts.signing_in.close()
            await _end(last)


async def _crash_is_logged(name: str, loop: Coroutine[None, None, None]) -> None:
    try:
        await loop
    except Exception:
        _logger.exception("a loop crashed; the server ends", loop=name)
        raise


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _at_port_of(listener: socket.socket, parts: Parts) -> Parts:
    """The parts with the port that was given to this server, where any was asked for."""
    port = int(listener.getsockname()[1])
    settings = parts.settings.model_copy(update={"port": port})
    return dataclasses.replace(parts, settings=settings)


def _as_shown(
    parts: Parts, concepts: Concepts, http: HttpServer, setup_token: str | None
) -> Serving:
    url = parts.settings.resolved_public_url
    _logger.info("serving", url=url, database=parts.database.dialect)
    return Serving(url, parts.settings.port, setup_token, parts, concepts, http)
