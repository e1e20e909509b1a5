"""Live and stored output over a real loopback server."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.logs.harness import NOW_US, backing_of, lines_of
from tests.tasks.log_server import LogServer, frames_to_end, log_server

from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.chunk import Source, event_chunk
from sluice.wire.events import Stage, StageBegin


@pytest.fixture
async def server(sqlite_database) -> AsyncIterator[LogServer]:
    backing = backing_of(sqlite_database, MemoryBlobs())
    async with log_server(backing) as started:
        yield started


@pytest.fixture
def http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={"Authorization": "Bearer ada"}, timeout=20)


def marker(stage: Stage = Stage.INIT):
    line = b"========== INIT BEGIN at 2025-10-11 19:30:00.123 ==========\n"
    return event_chunk(
        StageBegin(stage, "plan"), line, source=Source.AGENT, captured_us=NOW_US
    )


async def test_a_viewer_sees_everything_to_the_end(server: LogServer):
    agent = await server.agent()
    await agent.say("first\n")
    async with server.watch(agent.task_id, "format=batch&after=0") as socket:
        hello = json.loads(await socket.recv())
        await agent.say("second\nthi")
        await agent.say("rd\n")
        await agent.send(marker())
        await agent.say("oops\n", Source.STDERR)
        await server.end(agent)
        frames = await frames_to_end(socket)
    assert hello["type"] == "connected"
    assert hello["task_id"] == agent.task_id
    assert len(hello["client_id"]) == 36
    assert frames[-1]["type"] == "completed"
    assert frames[-1]["status"] == "success"
    assert [text for _, text in lines_of(frames[:-1])] == [
        "first",
        "second",
        "third",
        "========== INIT BEGIN at 2025-10-11 19:30:00.123 ==========",
        "oops",
    ]
    [stage] = [frame for frame in frames if frame["type"] == "stage_marker"]
    assert (stage["stage"], stage["status"], stage["line_num"]) == ("init", "begin", 4)
    assert socket.close_code == 1000
