"""Runs one server: its loops in one TaskGroup around uvicorn, and the steps of its end.

Stopping: (1) `/readyz` says so, no more connections are taken, long polls end;
(2) open requests and streams get `shutdown_seconds` to end, then they are cut;
(3) the loops that look after tasks and archives end; (4) the log's writer ends, after
everybody who could write; (5) wake-ups to other servers and the database are closed.
A loop that crashes takes the same way down, so that a supervisor sees the exit.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from sluice.auth.actions import issue_setup_token
from sluice.edge.stopping import Stopping
from sluice.events.topics import QUEUE
from sluice.logs.assembly import run_archiver, run_tails, run_writer
from sluice.server.app import build_app
from sluice.server.concepts import Concepts, build_concepts
from sluice.server.http import HttpServer, http_server, listen
from sluice.server.parts import Parts, open_parts, prepare_database
from sluice.server.settings import ServerSettings
from sluice.tasks.loop import watch_tasks

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that takes requests. ``setup_token`` where there is no user yet."""

    url: str
    port: int
    setup_token: str | None
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
        concepts = build_concepts(parts)
        setup_token = await issue_setup_token(concepts.auth)
        listener = listen(settings)
        try:
            async with _running(parts, concepts, listener) as http:
                yield _as_shown(parts, concepts, http, listener, setup_token)
        finally:
            listener.close()
    finally:
        await parts.close()
        _logger.info("stopped")


@asynccontextmanager
async def _running(
    parts: Parts, concepts: Concepts, listener: socket.socket
) -> AsyncIterator[HttpServer]:
    stopping = Stopping(lambda: parts.hub.publish(QUEUE))
    app = build_app(parts, concepts, stopping)
    http = http_server(app, parts.settings, stopping)
    async with asyncio.TaskGroup() as group:
        relay = parts.relay
        last = [] if relay is None else [group.create_task(relay.run(), name="relay")]
        last.insert(0, group.create_task(run_writer(concepts.logs), name="log-writer"))
        first = [
            group.create_task(run_tails(concepts.logs), name="log-tails"),
            group.create_task(run_archiver(concepts.logs), name="log-archiver"),
            group.create_task(watch_tasks(concepts.tasks), name="watch-tasks"),
        ]
        served = group.create_task(http.serve(sockets=[listener]), name="http")
        await http.until_started()
        try:
            yield http
        finally:
            http.stop()
            await asyncio.wait([served])
            await _end(first)
            await _end(last)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _as_shown(
    parts: Parts,
    concepts: Concepts,
    http: HttpServer,
    listener: socket.socket,
    setup_token: str | None,
) -> Serving:
    port = int(listener.getsockname()[1])
    settings = parts.settings.model_copy(update={"port": port})
    url = settings.resolved_public_url
    _logger.info("serving", url=url, database=parts.database.dialect)
    return Serving(url, port, setup_token, parts, concepts, http)
