"""Output that is code elsewhere leaves every route as the text that it is, and as data."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from sluice.edge.security_headers import HEADERS
from tests.scripts.site import Run, Site, open_site
from tests.support.hostile import ALL, PAGE, TERMINAL

# what ends a line, an event, a frame or a string for a careless writer of events or JSON
SPLITTING = [
    "\revent: hacked\rdata: hacked\r\r",
    "hacked\r",
    "event: hacked",
    "data: hacked",
    "id: 9999",
    "retry: 1",
    ": hacked",
    "",
    '"}\\n\\nevent: hacked\\ndata: {"type":"completed"',
    '"},{"type":"completed","status":"success"}',
    '"],[0,"stdout","INFO","hacked',
    '\\u0022}]}, "status": "success", "x": "',
    "\u2028data: hacked\u2029",
    "\x85data: hacked\x0bdata: hacked\x0c",
    "--frame\r\rHTTP/1.1 200 OK\r",
    "</script><!--",
    "\\",
    '"',
    "\x7f",
    "\x00",
    "=== ERROR ===",
]
STEPS = [f"[{number}/40] {PAGE[number]}" for number in range(1, 40)]
LINES = [*ALL, *SPLITTING, *STEPS, "the last line"]
WHOLE = "".join(f"{line}\n" for line in LINES)
ERROR = f"{PAGE[0]} {TERMINAL[0]}"

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
SOCKETS = {
    "/api/v1/tasks/{}/output/stream?after=0&format=live": "line",
    "/api/v1/tasks/{}/output/stream?after=0&format=batch": "lines",
    "/v1/log/ws?task_id={}": "message",
    "/ws/logs?task_id={}": "line",
    "/ws/tasks/{}": "message",
}
SSE = {
    "/api/v1/tasks/{}/output/sse?after=0&format=live": "line",
    "/api/v1/tasks/{}/output/sse?after=0&format=batch": "lines",
}


@pytest.fixture
async def site(tmp_path: Any) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


def is_data(answer: httpx2.Response, kind: str) -> None:
    """No browser runs, frames or guesses any of it."""
    assert answer.headers.get_list("content-type") == [kind], answer.url
    for name in HEADERS:
        values = answer.headers.get_list(name)
        assert len(values) == 1, (answer.url, name, values)
        if name != "cache-control":
            assert values == [HEADERS[name]], (answer.url, name)
    assert re.search(r"no-store|private", answer.headers["cache-control"])


def lines_of(frames: list[dict[str, Any]], field: str) -> list[str]:
    """The lines of a stream's frames, whatever their form."""
    if field == "lines":
        return [one[3] for frame in frames for one in frame.get("lines", ())]
    shown = [
        frame
        for frame in frames
        if frame.get("type") not in {"connected", "completed", "complete"}
    ]
    return [frame[field] for frame in shown]


def events_of(body: bytes) -> list[dict[str, str]]:
    """Server-sent events, cut as browsers do."""
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    for line in re.split(r"\r\n|\n|\r", body.decode()):
        if line.startswith(":"):
            assert line == ": ", "words in a comment"
        elif line:
            name, _, value = line.partition(": ")
            assert name not in event, "two of a kind in one event"
            event[name] = value
        elif event:
            found.append(event)
            event = {}
    assert not event
    return found


async def by_socket(site: Site, path: str, field: str) -> list[str]:
    frames = []
    async with connect(
        site.url.replace("http", "ws", 1) + path,
        additional_headers={"authorization": f"Bearer {site.token}"},
        max_size=None,
        proxy=None,
    ) as socket:
        async for message in socket:
            assert isinstance(message, str)
            assert not re.search("[\x00-\x1f]", message)
            frames.append(json.loads(message))
    return lines_of(frames, field)


async def by_events(site: Site, path: str, field: str) -> list[str]:
    answer = await site.user.get(path)
    is_data(answer, EVENTS)
    events = events_of(answer.content)
    assert all(event.keys() <= {"id", "data"} for event in events)
    frames = [json.loads(event["data"]) for event in events]
    assert [frames[0]["type"], frames[-1]["type"]] == ["connected", "completed"]
    numbers = [int(event["id"]) for event in events[1:-1]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(LINES)
    return lines_of(frames, field)


async def by_text(site: Site, path: str) -> list[str]:
    answer = await site.user.get(path)
    is_data(answer, TEXT)
    assert answer.content == WHOLE.encode()
    return LINES


async def by_all_streams(site: Site, task_id: str) -> dict[str, list[str]]:
    """What each way of following shows, to the end of the task."""
    async with asyncio.TaskGroup() as group:
        reading = {
            path: group.create_task(by_socket(site, path.format(task_id), field))
            for path, field in SOCKETS.items()
        }
        reading |= {
            path: group.create_task(by_events(site, path.format(task_id), field))
            for path, field in SSE.items()
        }
        path = "/api/v1/tasks/{}/output/follow?offset=0"
        reading[path] = group.create_task(by_text(site, path.format(task_id)))
    return {path: task.result() for path, task in reading.items()}


async def ended(site: Site) -> Run:
    """A script that has said all of it, and failed."""
    await site.script("hostile", name="<img src=x onerror=window.hacked=1>")
    run = await site.running("hostile")
    await run.write(WHOLE)
    await run.finish(3, ERROR)
    await site.sealed(run.task_id)
    return run


async def test_who_follows_sees_the_lines_as_they_are(site: Site) -> None:
    await site.script("hostile")
    run = await site.running("hostile")
    async with asyncio.TaskGroup() as group:
        live = group.create_task(by_all_streams(site, run.task_id))
        for at in range(0, len(LINES), 50):
            await run.write("".join(f"{line}\n" for line in LINES[at : at + 50]))
        await run.finish()
    for shown in (live.result(), await by_all_streams(site, run.task_id)):
        assert len(shown) == len(SOCKETS) + len(SSE) + 1
        for path, lines in shown.items():
            assert lines == LINES, path


async def test_stored_output_is_given_as_it_is(site: Site) -> None:
    run = await ended(site)
    task = f"/api/v1/tasks/{run.task_id}"
    answer = await site.user.get(f"{task}/logs")
    is_data(answer, JSON)
    assert answer.json()["logs"]["script"]["output"] == WHOLE
    assert answer.json()["logs"]["script"]["line_count"] == len(LINES)
    assert not re.search(b"[\x00-\x1f]", answer.content)

    answer = await site.user.get(f"{task}/logs?format=records&size=1000")
    is_data(answer, JSON)
    assert [one["message"] for one in answer.json()["content"]] == LINES

    answer = await site.user.get("/v1/log/history", params={"task_id": run.task_id})
    is_data(answer, JSON)
    assert [one["message"] for one in answer.json()["messages"]] == LINES
    assert answer.json()["total"] == len(LINES)

    answer = await site.user.get("/v1/log/status", params={"task_id": run.task_id})
    is_data(answer, JSON)
    assert answer.json()["step"] == PAGE[39]

    answer = await site.user.get(task)
    is_data(answer, JSON)
    error = answer.json()["error"]
    assert PAGE[0] in error
    answer = await site.user.get(f"{task}/logs?format=text")
    is_data(answer, TEXT)
    assert answer.text == f"=== SCRIPT OUTPUT ===\n{WHOLE}=== ERROR ===\n{error}\n"


async def test_files_have_names_that_are_names(site: Site) -> None:
    run = await ended(site)
    base = f"/api/v1/tasks/{run.task_id}/logs/download"
    fetched = {}
    for query in ("", "?raw=true", "?type=script", "?raw=true&type=script"):
        answer = await site.user.get(base + query)
        is_data(answer, TEXT)
        said = answer.headers["content-disposition"]
        assert re.fullmatch(
            r'attachment; filename="task-[A-Za-z0-9-]+\.(log|txt)"', said
        )
        fetched[query] = answer.content
    assert fetched["?raw=true"] == fetched["?raw=true&type=script"] == WHOLE.encode()
    assert WHOLE.encode() in fetched[""]
    # a range that begins within a payload is no page either
    at = WHOLE.encode().index(PAGE[0].encode())
    wanted = {"range": f"bytes={at}-{at + 20}"}
    answer = await site.user.get(f"{base}?raw=true", headers=wanted)
    assert answer.status_code == 206
    is_data(answer, TEXT)
    assert answer.content == WHOLE.encode()[at : at + 21]


async def test_a_log_by_its_name_is_text_whatever_is_asked(site: Site) -> None:
    run = await ended(site)
    for params in ({"fn": run.task_id}, {"fn": "hostile.log"}, {"name": "hostile"}):
        answer = await site.user.get("/v1/soft/getlog", params=params)
        is_data(answer, TEXT)
        assert answer.content == WHOLE.encode()
        assert "content-disposition" not in answer.headers
    for text in ALL[::35]:
        for name in ("fn", "name"):
            answer = await site.user.get("/v1/soft/getlog", params={name: text})
            is_data(answer, "application/problem+json")
            assert answer.status_code in {400, 404}, text
        answer = await site.user.get("/v1/log/history", params={"task_id": text})
        is_data(answer, "application/problem+json")
        assert answer.status_code == 404, text
