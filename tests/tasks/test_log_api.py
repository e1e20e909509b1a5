"""Live and stored output over a real loopback server."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sluice.auth.model import TaskPrincipal
from sluice.base.ids import LeaseId, OrganizationId, TaskId
from sluice.db.engine import Database
from sluice.logs.archiver import archive_log
from sluice.logs.assembly import LogBacking
from sluice.tasks.viewers import StreamLimits
from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.chunk import Chunk, Source, event_chunk
from sluice.wire.events import Stage, StageBegin
from sluice.wire.shapes.tasks import TaskType
from tests.logs.harness import (
    NOW_US,
    Agent,
    backing_of,
    expected_lines,
    lines_of,
)
from tests.tasks.log_server import LogServer, frames_to_end, log_server

MARKER = "========== INIT BEGIN at 2025-10-11 19:30:00.123 =========="


@pytest.fixture
async def backing(sqlite_database: Database) -> LogBacking:
    return backing_of(sqlite_database, MemoryBlobs())


@pytest.fixture(params=[True, False], ids=["raw", "plain"])
async def any_server(
    backing: LogBacking, request: pytest.FixtureRequest
) -> AsyncIterator[LogServer]:
    """With and without the raw frame extension."""
    async with log_server(backing, raw=request.param) as started:
        yield started


@pytest.fixture
async def server(backing: LogBacking) -> AsyncIterator[LogServer]:
    async with log_server(backing) as started:
        yield started


@pytest.fixture
async def http(server: LogServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=f"{server.url}/api/v1",
        headers={"Authorization": "Bearer ada"},
        timeout=20,
        trust_env=False,
    ) as client:
        yield client


def marker() -> Chunk:
    begin = StageBegin(Stage.INIT, "plan")
    line = MARKER.encode() + b"\n"
    return event_chunk(begin, line, source=Source.AGENT, captured_us=NOW_US)


# --- WebSocket ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["batch", "live"])
async def test_a_viewer_sees_everything_to_the_end(
    any_server: LogServer, form: str
) -> None:
    server = any_server
    agent = await server.agent()
    await agent.say("first\n")
    async with server.watch(agent.task_id, f"format={form}&after=0") as socket:
        hello = json.loads(await socket.recv())
        await agent.say("second\nthi")
        await agent.say("rd\n")
        await agent.send(marker())
        await agent.say("oops\n", Source.STDERR)
        await server.end(agent)
        frames = await frames_to_end(socket)
    assert (hello["type"], hello["task_id"]) == ("connected", agent.task_id)
    assert len(hello["client_id"]) == 36
    assert (frames[-1]["type"], frames[-1]["status"]) == ("completed", "success")
    assert [text for _, text in lines_of(frames[:-1])] == [
        "first",
        "second",
        "third",
        MARKER,
        "oops",
    ]
    [stage] = [frame for frame in frames if frame["type"] == "stage_marker"]
    assert (stage["stage"], stage["status"], stage["line_num"]) == ("init", "begin", 4)
    assert socket.close_code == 1000
    if form == "live":
        assert [frame["type"] for frame in frames[-2:]] == ["error", "completed"]


async def test_a_stream_opened_after_the_end(any_server: LogServer) -> None:
    agent = await any_server.agent()
    await agent.say("one\ntwo\n")
    await any_server.end(agent, status="failed")
    async with any_server.watch(agent.task_id, "after=1") as socket:
        frames = await frames_to_end(socket)
    assert [frame["type"] for frame in frames] == ["connected", "output", "completed"]
    assert (frames[1]["line"], frames[1]["line_num"]) == ("two", 2)
    assert (frames[2]["status"], socket.close_code) == ("failed", 1000)


async def test_a_line_of_ten_megabytes(any_server: LogServer) -> None:
    agent = await any_server.agent()
    long = "é" * 5_000_000
    async with any_server.watch(agent.task_id, "format=batch&after=0") as socket:
        await socket.recv()
        for at in range(0, len(long), 400_000):
            await agent.say(long[at : at + 400_000])
        await agent.say("\nshort\n")
        await any_server.end(agent)
        frames = await frames_to_end(socket)
    assert lines_of(frames[:-1]) == [(1, long), (2, "short")]


async def test_many_viewers_agree_and_none_waits_for_a_frozen_one(
    server: LogServer,
) -> None:
    agent = await server.agent()
    sockets = [
        await server.watch(agent.task_id, "format=batch&after=0") for _ in range(12)
    ]
    frozen, awake = sockets[:2], sockets[2:]
    for socket in frozen:
        socket.transport.pause_reading()
    whole = b""
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(frames_to_end(socket)) for socket in awake]
        for number in range(60):
            piece = f"line {number} {'x' * 200}\n".encode() * 500
            whole += piece
            await agent.say(piece)
        await server.end(agent)
    for reader in readers:
        assert lines_of(reader.result()[1:-1]) == expected_lines(whole)
    for socket in frozen:
        socket.transport.resume_reading()
        thawed = await frames_to_end(socket)
        assert lines_of(thawed[1:-1]) == expected_lines(whole)
    assert server.system.tails.stats().count == 0


async def test_each_line_once_over_reconnects(any_server: LogServer) -> None:
    agent = await any_server.agent()
    seen: list[tuple[int, str]] = []

    async def view() -> None:
        while True:
            after = seen[-1][0] if seen else 0
            async with any_server.watch(
                agent.task_id, f"format=batch&after={after}"
            ) as socket:
                for _ in range(4):
                    frame = json.loads(await socket.recv())
                    if frame["type"] == "completed":
                        return
                    if frame["type"] == "batch":
                        seen.extend(lines_of([frame]))

    async with asyncio.TaskGroup() as group:
        group.create_task(view())
        for number in range(200):
            await agent.say(f"line {number}\n")
            await asyncio.sleep(0.002)
        await any_server.end(agent)
    assert seen == [(n + 1, f"line {n}") for n in range(200)]


async def what_comes(socket: ClientConnection, seconds: float) -> list[str | bytes]:
    """All messages within some time."""
    found = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                found.append(await socket.recv())
    except TimeoutError:
        return found


async def test_a_viewer_that_acknowledges_is_waited_for(backing: LogBacking) -> None:
    limits = StreamLimits(new_per_minute=99, unacknowledged_bytes=100_000)
    async with log_server(backing, limits=limits) as server:
        agent = await server.agent()
        async with server.watch(agent.task_id, "format=batch&after=0&ack=1") as socket:
            await socket.recv()
            for number in range(100):
                await agent.say(f"{number:09d}\n".encode() * 1000)
            received = await what_comes(socket, 0.7)
            # a flush may go over the limit, not much more
            assert sum(map(len, received)) < 1_500_000
            line = json.loads(received[-1])["next_line"] - 1
            await socket.send("not json")
            await socket.send(json.dumps({"type": "ack", "line": line}))
            await server.end(agent)
            lines = line
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "completed":
                    break
                assert frame["first_line"] == lines + 1
                lines = frame["next_line"] - 1
                await socket.send(json.dumps({"type": "ack", "line": lines}))
        assert lines == 100_000


async def test_a_quiet_stream_is_closed(backing: LogBacking) -> None:
    limits = StreamLimits(idle_seconds=0.2)
    async with log_server(backing, limits=limits) as server:
        agent = await server.agent()
        await agent.say("x\n")
        async with server.watch(agent.task_id, "format=batch") as socket:
            for number in range(6):
                await asyncio.sleep(0.06)
                await agent.say(f"{number}\n")
            frames = await frames_to_end(socket)
        assert lines_of([f for f in frames if f["type"] == "batch"])[-1] == (7, "5")
        assert (frames[-1]["type"], frames[-1]["code"]) == ("stream_error", "idle")
        assert socket.close_code == 1001


async def test_what_a_viewer_says_does_no_harm(any_server: LogServer) -> None:
    agent = await any_server.agent()
    async with any_server.watch(agent.task_id) as socket:
        for message in ("", "{", '{"type":"ack"}', "null", b"\xff\0", "x" * 100_000):
            await socket.send(message)
        await agent.say("fine\n")
        await any_server.end(agent)
        frames = await frames_to_end(socket)
    assert [frame["type"] for frame in frames] == ["connected", "output", "completed"]


async def test_a_viewer_that_goes_is_forgotten(any_server: LogServer) -> None:
    agent = await any_server.agent()
    tails = any_server.system.tails
    for _ in range(3):
        socket = await any_server.watch(agent.task_id)
        await socket.recv()
        assert tails.stats().streams[0].clients_count == 1
        socket.transport.abort()
        async with asyncio.timeout(5):
            while tails.stats().count:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("token", "query", "status", "code"),
    [
        ("", "", 401, "unauthorized"),
        ("who", "", 401, "unauthorized"),
        ("agent", "", 403, "forbidden"),
        ("ada", "format=morse", 422, "invalid_input"),
        ("ada", "after=-1", 422, "invalid_input"),
        ("ada", "after=x", 422, "invalid_input"),
    ],
)
async def test_refusals_come_before_the_upgrade(
    any_server: LogServer, token: str, query: str, status: int, code: str
) -> None:
    agent = await any_server.agent()
    with pytest.raises(InvalidStatus) as refused:
        await any_server.watch(agent.task_id, query, token=token)
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["code"] == code


async def test_no_such_task(any_server: LogServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await any_server.watch(TaskId("task-none"))
    assert refused.value.response.status_code == 404


async def test_one_viewer_too_many(backing: LogBacking) -> None:
    async with log_server(backing, limits=StreamLimits(viewers_per_task=2)) as server:
        agent = await server.agent()
        first = await server.watch(agent.task_id)
        async with server.watch(agent.task_id):
            with pytest.raises(InvalidStatus) as refused:
                await server.watch(agent.task_id)
            response = refused.value.response
            assert response.status_code == 429
            assert response.headers["retry-after"] == "10"
            await first.close()
            async with asyncio.timeout(5):
                while server.system.tails.stats().streams[0].clients_count > 1:
                    await asyncio.sleep(0.01)
            async with server.watch(agent.task_id) as again:
                await again.recv()


async def test_browsers_send_their_token_as_a_protocol(any_server: LogServer) -> None:
    agent = await any_server.agent()
    url = f"ws://127.0.0.1:{any_server.port}/api/v1/tasks/{agent.task_id}/output/stream"
    home: Any = f"http://127.0.0.1:{any_server.port}"
    offered: Any = ["sluice.v1", "bearer.ada"]
    async with connect(url, subprotocols=offered, origin=home) as socket:
        assert socket.subprotocol == "sluice.v1"
        assert json.loads(await socket.recv())["type"] == "connected"
    wrong: Any = ["sluice.v1", "bearer.who"]
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, subprotocols=wrong)
    assert refused.value.response.status_code == 401
    strange: Any = "https://evil.example.com"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, subprotocols=offered, origin=strange)
    assert refused.value.response.status_code == 403


async def test_a_stopping_server_closes_streams(backing: LogBacking) -> None:
    async with log_server(backing) as server:
        agent = await server.agent()
        socket = await server.watch(agent.task_id)
        await socket.recv()
        server.http.should_exit = True
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012


# --- server-sent events and text ------------------------------------------------


async def read_events(
    http: httpx2.AsyncClient, task_id: str, **more: Any
) -> list[tuple[str, dict[str, Any]]]:
    """(id, frame) of all events to the end."""
    found = []
    async with http.stream("GET", f"/tasks/{task_id}/output/sse", **more) as answer:
        assert answer.status_code == 200
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["content-type"].startswith("text/event-stream")
        body = "".join([piece async for piece in answer.aiter_text()])
    for event in body.split("\n\n")[:-1]:
        if event.startswith(":"):
            continue
        head, _, data = event.rpartition("data: ")
        found.append((head.removeprefix("id: ").strip(), json.loads(data)))
    return found


@pytest.mark.parametrize("form", ["live", "batch"])
async def test_events_to_the_end_and_on_from_an_id(
    server: LogServer, http: httpx2.AsyncClient, form: str
) -> None:
    agent = await server.agent()
    await agent.say("one\ntwo\n")
    async with asyncio.TaskGroup() as group:
        params = {"format": form, "after": 0}
        reading = group.create_task(read_events(http, agent.task_id, params=params))
        await asyncio.sleep(0.1)
        await agent.send(marker())
        await agent.say("four")
        await server.end(agent)
    events = reading.result()
    assert [events[0][1]["type"], events[-1][1]["type"]] == ["connected", "completed"]
    lines = lines_of([frame for _, frame in events[1:-1]])
    assert [text for _, text in lines] == ["one", "two", MARKER, "four"]
    assert [id_ for id_, _ in events][-2] == "4"
    on = await read_events(
        http,
        agent.task_id,
        params={"format": form},
        headers={"Last-Event-ID": "2"},
    )
    assert [text for _, text in lines_of([f for _, f in on[1:-1]])] == [MARKER, "four"]


async def test_quiet_events_say_that_they_live_and_end(backing: LogBacking) -> None:
    limits = StreamLimits(idle_seconds=0.3, heartbeat_seconds=0.05)
    async with (
        log_server(backing, limits=limits) as server,
        httpx2.AsyncClient(headers={"Authorization": "Bearer ada"}, timeout=40) as http,
    ):
        agent = await server.agent()
        url = f"{server.url}/api/v1/tasks/{agent.task_id}/output/sse"
        body = (await http.get(url)).text
        assert body.count(": \n\n") == 6
        assert "completed" not in body
        assert server.system.tails.stats().count == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"offset": 0}, b"one\ntw\xffo\nthree"),
        ({"offset": 5}, b"w\xffo\nthree"),
        ({"after": 1}, b"tw\xffo\nthree"),
        ({"offset": 10**6}, b"ree"),
        ({}, b"one\ntw\xffo\nthree"),
    ],
)
async def test_text_is_followed_byte_by_byte(
    server: LogServer, http: httpx2.AsyncClient, query: dict[str, int], expected: bytes
) -> None:
    agent = await server.agent()
    await agent.say(b"one\ntw\xffo\nth")
    async with http.stream(
        "GET", f"/tasks/{agent.task_id}/output/follow", params=query
    ) as answer:
        assert answer.headers["x-accel-buffering"] == "no"
        pieces = answer.aiter_raw()
        found = b""
        if query.get("offset") != 10**6:
            # a line is shown before it is whole
            found = await anext(pieces)
            assert found.endswith(b"th")
        await agent.say(b"ree")
        await server.end(agent)
        found += b"".join([piece async for piece in pieces])
    assert found == expected


async def test_a_reader_of_events_that_goes_is_forgotten(
    server: LogServer, http: httpx2.AsyncClient
) -> None:
    agent = await server.agent()
    for path in ("sse", "follow"):
        async with http.stream("GET", f"/tasks/{agent.task_id}/output/{path}"):
            async with asyncio.timeout(5):
                while not server.system.tails.stats().count:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while server.system.tails.stats().count:
                await asyncio.sleep(0.01)
        assert (await http.head(f"/tasks/{agent.task_id}/output/{path}")).is_success


# --- stored output --------------------------------------------------------------

PLAN = b'planning \xff\xfe\r50%\r100%\n+ "x" \\ \xe2\x94\x82\n'
APPLY = b"applying\n\0done"


async def ended(server: LogServer) -> Agent:
    agent = await server.agent()
    await agent.say(PLAN)
    await agent.say(APPLY)
    await server.end(agent, apply_offset=len(PLAN), apply_line=3)
    return agent


async def test_logs_as_json(server: LogServer, http: httpx2.AsyncClient) -> None:
    agent = await ended(server)
    body = (await http.get(f"/tasks/{agent.task_id}/logs")).json()
    assert body == {
        "task_id": agent.task_id,
        "task_type": "plan_and_apply",
        "status": "success",
        "created_at": "2026-11-21T10:00:00.000Z",
        "completed_at": "2026-11-21T10:05:00.000Z",
        "duration": 300.0,
        "logs": {
            "plan": {
                "output": PLAN.decode("utf-8", "replace"),
                "line_count": 2,
                "size_bytes": len(PLAN),
            },
            "apply": {
                "output": APPLY.decode(),
                "line_count": 2,
                "size_bytes": len(APPLY),
            },
        },
    }
    only = (
        await http.get(f"/tasks/{agent.task_id}/logs", params={"type": "apply"})
    ).json()
    assert only["logs"]["plan"] is None
    assert only["logs"]["apply"]["line_count"] == 2


async def test_logs_of_a_task_that_wrote_nothing(
    server: LogServer, http: httpx2.AsyncClient
) -> None:
    agent = await server.agent(task_type=TaskType.PLAN)
    body = (await http.get(f"/tasks/{agent.task_id}/logs")).json()
    assert body["logs"] == {
        "plan": {"output": "", "line_count": 0, "size_bytes": 0},
        "apply": None,
    }


async def test_logs_as_text(server: LogServer, http: httpx2.AsyncClient) -> None:
    agent = await ended(server)
    answer = await http.get(f"/tasks/{agent.task_id}/logs", params={"format": "text"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content.decode() == (
        f"=== PLAN OUTPUT ===\n{PLAN.decode('utf-8', 'replace')}"
        f"=== APPLY OUTPUT ===\n{APPLY.decode()}\n"
    )


async def test_the_download_has_every_byte(
    server: LogServer, http: httpx2.AsyncClient
) -> None:
    agent = await ended(server)
    path = f"/tasks/{agent.task_id}/logs/download"
    for _ in ("from rows", "from the archive"):
        answer = await http.get(path)
        name = f'attachment; filename="task-{agent.task_id}-logs.txt"'
        assert answer.headers["content-disposition"] == name
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.content.startswith(f"Task ID: {agent.task_id}\n".encode())
        assert PLAN + b"APPLY OUTPUT:\n" in answer.content
        assert answer.content.endswith(APPLY + b"\n")
        raw = await http.get(path, params={"raw": "true"})
        assert raw.content == PLAN + APPLY
        part = await http.get(path, params={"raw": "true", "type": "apply"})
        assert part.content == APPLY
        view = await server.system.logs.view(agent.task_id)
        if view.record.archived_at is None:
            await archive_log(server.system.archiver.parts, view.record)


async def test_ranges_of_the_download(
    server: LogServer, http: httpx2.AsyncClient
) -> None:
    agent = await ended(server)
    path = f"/tasks/{agent.task_id}/logs/download"
    whole = await http.get(path)
    etag = whole.headers["etag"]
    size = len(whole.content)

    async def ranged(given: str, **more: str) -> httpx2.Response:
        return await http.get(path, headers={"Range": given, **more})

    some = await ranged("bytes=5-300")
    assert (some.status_code, some.content) == (206, whole.content[5:301])
    assert some.headers["content-range"] == f"bytes 5-300/{size}"
    last = await ranged("bytes=-7")
    assert (last.status_code, last.content) == (206, whole.content[-7:])
    beyond = await ranged(f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (
        416,
        f"bytes */{size}",
    )
    assert (await ranged("bytes=5-9", **{"If-Range": etag})).status_code == 206
    assert (await ranged("bytes=5-9", **{"If-Range": '"old"'})).status_code == 200
    assert (await http.get(path, headers={"If-None-Match": etag})).status_code == 304
    head = await http.head(path)
    assert (head.headers["content-length"], head.content) == (str(size), b"")


async def test_a_growing_log_has_another_tag(
    server: LogServer, http: httpx2.AsyncClient
) -> None:
    agent = await server.agent()
    path = f"/tasks/{agent.task_id}/logs/download"
    await agent.say("one\n")
    first = await http.get(path)
    await agent.say("two\n")
    second = await http.get(path)
    assert first.headers["etag"] != second.headers["etag"]
    assert second.content.endswith(b"one\ntwo\n")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tasks/{id}/logs?type=none", 422),
        ("/tasks/{id}/logs?format=xml", 422),
        ("/tasks/{id}/logs/download?type=none", 422),
        ("/tasks/{id}/output/follow?offset=-1", 422),
        ("/tasks/{id}/output/sse?after=no", 422),
        ("/tasks/task-none/logs", 404),
        ("/tasks/task-none/logs/download", 404),
        ("/tasks/task-none/output/sse", 404),
        ("/tasks/task-none/output/follow", 404),
    ],
)
async def test_what_cannot_be_answered(
    server: LogServer, http: httpx2.AsyncClient, path: str, status: int
) -> None:
    agent = await server.agent()
    answer = await http.get(path.replace("{id}", agent.task_id))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["logs", "logs/download", "output/sse", "output/follow"]
)
async def test_nobody_reads_without_permission(server: LogServer, path: str) -> None:
    agent = await server.agent()
    server.facts.callers["task"] = TaskPrincipal(
        agent.task_id, LeaseId("lease-1"), OrganizationId("org-1")
    )
    url = f"{server.url}/api/v1/tasks/{agent.task_id}/{path}"
    async with httpx2.AsyncClient(trust_env=False, timeout=40) as client:
        for token, status in (("who", 401), ("agent", 403), ("task", 403)):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.get(url, headers=headers)).status_code == status
        assert (await client.get(url)).status_code == 401


async def test_what_is_followed(server: LogServer, http: httpx2.AsyncClient) -> None:
    agent = await server.agent()
    await agent.say("one\ntwo\n")
    assert (await http.get("/terraform/streams/stats")).json() == {
        "streams": [],
        "count": 0,
    }
    async with server.watch(agent.task_id, "format=batch&after=0") as socket:
        await socket.recv()
        await socket.recv()
        stats = (await http.get("/terraform/streams/stats")).json()
    [stream] = stats["streams"]
    assert stats["count"] == 1
    assert (stream["task_id"], stream["clients_count"]) == (agent.task_id, 1)
    assert (stream["buffer_size"], stream["closed"]) == (2, False)
    assert 0 <= stream["uptime"] < 60
