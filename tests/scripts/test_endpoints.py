"""Every endpoint of scripts: one row an answer, success and each error."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sluice.wire.chunk import Source
from sluice.wire.shapes.scripts import Script, ScriptHistory, ScriptStatus
from tests.scripts.site import Run, Site, open_site

TEXT = (
    "[1/4] Checking\nfound tar\n[2/4] Fetching\nERROR: mirror is away\n"
    "WARN: another one\n[3/4] Unpacking\n63%\n"
)
LINES = TEXT.splitlines()
INSTALL = "/v1/soft/install"
SCRIPTS = "/api/v1/organizations/default/scripts"


@dataclass
class Cast:
    """What the rows speak of; `{name}` in a path stands for its id."""

    site: Site
    going: Run
    ids: dict[str, str] = field(default_factory=dict)

    def path(self, template: str) -> str:
        return template.format(**self.ids)


@pytest.fixture(scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with open_site(tmp_path_factory.mktemp("site")) as site:
        script = await site.script(
            "nginx",
            name="Nginx",
            parameters=[
                {"name": "PORT", "type": "integer", "min": 1, "max": 65535},
                {"name": "LICENSE", "sensitive": True, "default": "hunter2xyz"},
            ],
        )
        await site.script("never")
        done = await site.running("nginx", version="1.2")
        await done.write(TEXT)
        await done.finish()
        failed = await site.running("nginx")
        await failed.write(TEXT + "half a line", Source.STDERR)
        await failed.finish(3, "the script ended with exit code 3")
        removed = await site.running("nginx")
        await removed.write(TEXT)
        await removed.finish()
        for run in (done, failed, removed):
            await site.sealed(run.task_id)
        await site.retire(removed.task_id)
        going = await site.running("nginx", version="1.3")
        await going.write(TEXT)
        queued = await site.install("never")
        ids = {
            "script": script["id"],
            "done": done.task_id,
            "failed": failed.task_id,
            "removed": removed.task_id,
            "going": going.task_id,
            "queued": queued,
        }
        yield Cast(site, going, ids)


# --- reading: method GET, a path, the status, words of the answer -----------------

WHOLE = "task_id={done}"
READS = [
    # registered scripts
    (SCRIPTS, 200, '"key":"nginx"'),
    ("/api/v1/organizations/nobody/scripts", 404, "no organization nobody"),
    ("/api/v1/scripts/{script}", 200, '"has_default":true'),
    ("/api/v1/scripts/script-none", 404, "no script script-none"),
    # history
    (f"/v1/log/history?{WHOLE}", 200, '"total":7'),
    (f"/v1/log/history?{WHOLE}&offset=5", 200, '"next_offset":7'),
    (f"/v1/log/history?{WHOLE}&offset=2&limit=1", 200, '"next_offset":3'),
    (f"/v1/log/history?{WHOLE}&offset=7", 200, '{"messages":[],"offset":7'),
    (f"/v1/log/history?{WHOLE}&offset=900", 200, '{"messages":[],"offset":900'),
    (f"/v1/log/history?{WHOLE}&limit=10000", 200, '"total":7'),
    ("/v1/log/history?task_id={queued}", 200, '"total":0'),
    ("/v1/log/history?task_id={failed}", 200, '"message":"half a line"'),
    ("/v1/log/history", 422, "task_id is missing"),
    (f"/v1/log/history?{WHOLE}&limit=10001", 422, "from 1 to 10000"),
    (f"/v1/log/history?{WHOLE}&limit=0", 422, "from 1 to 10000"),
    (f"/v1/log/history?{WHOLE}&offset=-1", 422, "offset is '-1'"),
    (f"/v1/log/history?{WHOLE}&limit=x", 422, "limit is 'x'"),
    ("/v1/log/history?task_id=task-none", 404, "no task task-none"),
    ("/v1/log/history?task_id={removed}", 410, "log_retention_days"),
    # status
    (f"/v1/log/status?{WHOLE}", 200, '"status":"success","progress":100'),
    ("/v1/log/status?task_id={failed}", 200, '"status":"failed","progress":63'),
    ("/v1/log/status?task_id={going}", 200, '"status":"running","progress":63'),
    ("/v1/log/status?task_id={queued}", 200, '"status":"pending","progress":0'),
    ("/v1/log/status?task_id={removed}", 200, '"status":"success","progress":100'),
    ("/v1/log/status", 422, "task_id is missing"),
    ("/v1/log/status?task_id=task-none", 404, "no task task-none"),
    # the old polling call
    ("/v1/soft/getlog?fn={done}", 200, TEXT),
    ("/v1/soft/getlog?fn={done}.log", 200, TEXT),
    ("/v1/soft/getlog?fn={done}.log&name=nginx", 200, TEXT),
    ("/v1/soft/getlog?name=nginx", 200, TEXT),
    ("/v1/soft/getlog?fn=nginx.log", 200, TEXT),
    ("/v1/soft/getlog?fn=nginx.log&name=nginx&organization=default", 200, TEXT),
    ("/v1/soft/getlog?fn={failed}", 200, TEXT + "half a line"),
    ("/v1/soft/getlog?fn={queued}", 200, ""),
    ("/v1/soft/getlog", 422, "fn is missing"),
    ("/v1/soft/getlog?fn=", 422, "fn is missing"),
    ("/v1/soft/getlog?fn=task-none", 404, "task-none"),
    ("/v1/soft/getlog?name=apache", 404, "'apache'"),
    ("/v1/soft/getlog?fn={done}&name=never", 404, "of the script never"),
    ("/v1/soft/getlog?fn=other.log&name=nginx", 404, "of the script nginx"),
    ("/v1/soft/getlog?name=nginx&organization=nobody", 404, "no organization"),
    ("/v1/soft/getlog?fn={removed}", 410, "log_retention_days"),
    ("/v1/soft/getlog?fn=/etc/passwd", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=../../etc/passwd", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=..", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=..%5C..%5Cx", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=%2Fetc%2Fpasswd", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=%252Fetc%252Fpasswd", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=%252e%252e", 400, "no name of a log"),
    ("/v1/soft/getlog?fn={done}%00.log", 400, "no name of a log"),
    ("/v1/soft/getlog?fn=C:%5Cx", 400, "no name of a log"),
    ("/v1/soft/getlog?name=../nginx", 400, "name is"),
    ("/v1/soft/getlog?fn={done}&name=a%2Fb", 400, "name is"),
    # records
    ("/api/v1/tasks/{done}/logs?format=records", 200, '"total_pages":1'),
    ("/api/v1/tasks/{done}/logs?page=1&size=3", 200, '"total_pages":3'),
    ("/api/v1/tasks/{done}/logs?page=9&size=3", 200, '"content":[],"page":9'),
    ("/api/v1/tasks/{done}/logs?level=ERROR", 200, '"total_elements":1'),
    ("/api/v1/tasks/{done}/logs?level=warn", 200, '"total_elements":1'),
    ("/api/v1/tasks/{failed}/logs?source=stderr", 200, '"total_elements":8'),
    ("/api/v1/tasks/{failed}/logs?source=stdout", 200, '"total_elements":0'),
    ("/api/v1/tasks/{failed}/logs?source=STDERR&level=INFO", 200, '"page":0'),
    ("/api/v1/tasks/{queued}/logs?size=5", 200, '"total_pages":0'),
    ("/api/v1/tasks/{done}/logs?level=LOUD", 422, "level is 'LOUD'"),
    ("/api/v1/tasks/{done}/logs?source=pipe", 422, "source is 'pipe'"),
    ("/api/v1/tasks/{done}/logs?size=0", 422, "size from 1 to 1000"),
    ("/api/v1/tasks/{done}/logs?size=1001", 422, "size from 1 to 1000"),
    ("/api/v1/tasks/{done}/logs?page=-1", 422, "page is '-1'"),
    ("/api/v1/tasks/{done}/logs?page=99999999999", 422, "a page from 0"),
    ("/api/v1/tasks/{done}/logs?format=xml", 422, "`records`"),
    ("/api/v1/tasks/task-none/logs?page=0", 404, "no task task-none"),
    ("/api/v1/tasks/{removed}/logs?page=0", 410, "log_retention_days"),
    ("/api/v1/tasks/{removed}/logs", 410, "log_retention_days"),
    ("/api/v1/tasks/{removed}/logs/download", 410, "log_retention_days"),
    ("/api/v1/tasks/{removed}/output/follow", 410, "log_retention_days"),
    # the page's script
    ("/embed.js", 200, "sluice-log"),
]


@pytest.mark.parametrize(("path", "status", "words"), READS)
async def test_reading(cast: Cast, path: str, status: int, words: str) -> None:
    answer = await cast.site.user.get(cast.path(path))
    assert answer.status_code == status, answer.text
    assert words in answer.text
    if status >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["code"], problem["detail"]


@pytest.mark.parametrize(
    "path", sorted({path.partition("?")[0] for path, _, _ in READS} - {"/embed.js"})
)
async def test_reading_takes_a_token(cast: Cast, path: str) -> None:
    answer = await cast.site.nobody.get(cast.path(path))
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    # a pool's, an agent's or a task's token reads no logs of others
    headers = {"authorization": f"Bearer {cast.site.agent.token}"}
    answer = await cast.site.nobody.get(cast.path(path), headers=headers)
    assert answer.status_code == 403


# --- writing: who, method, path, body, status, words ------------------------------

BODY = {"key": "made", "body": "#!/bin/sh\n"}
WRITES: list[tuple[str, str, str, Any, int, str]] = [
    ("admin", "POST", SCRIPTS, BODY, 201, '"key":"made"'),
    ("admin", "POST", SCRIPTS, BODY, 409, "key made already"),
    ("user", "POST", SCRIPTS, BODY, 403, "manage_scripts"),
    ("nobody", "POST", SCRIPTS, BODY, 401, "unauthorized"),
    ("admin", "POST", SCRIPTS, {**BODY, "key": "a/b"}, 422, "key"),
    ("admin", "POST", SCRIPTS, {**BODY, "key": "a..b"}, 422, "key"),
    ("admin", "POST", SCRIPTS, {**BODY, "key": "a.\xe9"}, 422, "key"),
    ("admin", "POST", SCRIPTS, {**BODY, "key": "x", "shell": 1}, 422, "shell"),
    ("admin", "POST", SCRIPTS, {"key": "x", "path": "rel"}, 422, "not absolute"),
    (
        "admin",
        "POST",
        SCRIPTS,
        {**BODY, "key": "x", "parameters": [{"name": "LD_PRELOAD"}]},
        422,
        '"field":"parameters.0.name"',
    ),
    (
        "admin",
        "POST",
        SCRIPTS,
        {**BODY, "key": "x", "labels": {"ä": "b"}},
        422,
        "label",
    ),
    ("admin", "POST", "/api/v1/organizations/nobody/scripts", BODY, 404, "nobody"),
    ("admin", "PATCH", "/api/v1/scripts/{script}", {"name": "N"}, 200, '"name":"N"'),
    ("user", "PATCH", "/api/v1/scripts/{script}", {"name": "M"}, 403, "manage_scripts"),
    (
        "admin",
        "PATCH",
        "/api/v1/scripts/{script}",
        {"body": "echo"},
        422,
        "interpreter",
    ),
    ("admin", "PATCH", "/api/v1/scripts/{script}", {"key": "never"}, 409, "never"),
    ("admin", "PATCH", "/api/v1/scripts/script-none", {}, 404, "script-none"),
    ("user", "DELETE", "/api/v1/scripts/{script}", None, 403, "manage_scripts"),
    ("admin", "DELETE", "/api/v1/scripts/script-none", None, 404, "script-none"),
    (
        "user",
        "POST",
        INSTALL,
        {"key": "nginx", "version": "2"},
        200,
        '"task_id":"task-',
    ),
    ("user", "POST", INSTALL, {"key": "nginx", "Port": 80}, 200, '"task_id":"task-'),
    ("nobody", "POST", INSTALL, {"key": "nginx"}, 401, "unauthorized"),
    ("user", "POST", INSTALL, {"key": "apache"}, 404, "'apache'"),
    ("user", "POST", INSTALL, {"key": "../nginx"}, 422, "key"),
    ("user", "POST", INSTALL, {"version": "1"}, 422, '"field":"key"'),
    ("user", "POST", INSTALL, {"key": "nginx", "version": 8}, 422, '"field":"version"'),
    ("user", "POST", INSTALL, {"key": "nginx", "port": 0}, 422, '"field":"port"'),
    ("user", "POST", INSTALL, {"key": "nginx", "colour": 1}, 422, '"field":"colour"'),
    ("user", "POST", INSTALL, {"key": "nginx", "PATH": "/x"}, 422, '"field":"PATH"'),
    ("user", "POST", INSTALL, {"key": "nginx", "organization": "no"}, 404, "no"),
    ("user", "POST", INSTALL, {"key": "nginx", "a\u0000": "x"}, 422, "no parameter"),
    ("user", "POST", INSTALL, [], 422, "body"),
]


@pytest.mark.parametrize(("who", "method", "path", "body", "status", "words"), WRITES)
async def test_writing(
    cast: Cast, who: str, method: str, path: str, body: Any, status: int, words: str
) -> None:
    client = getattr(cast.site, who)
    given = {} if body is None else {"json": body}
    answer = await client.request(method, cast.path(path), **given)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert "hunter2xyz" not in answer.text


async def test_a_script_is_deleted_once(cast: Cast) -> None:
    made = await cast.site.script("short-lived")
    path = f"/api/v1/scripts/{made['id']}"
    assert (await cast.site.admin.delete(path)).status_code == 204
    assert (await cast.site.admin.delete(path)).status_code == 404
    answer = await cast.site.user.post(INSTALL, json={"key": "short-lived"})
    assert answer.status_code == 404


# --- what answers hold --------------------------------------------------------------


async def test_every_wrong_parameter_is_named(cast: Cast) -> None:
    body = {"key": "nginx", "port": 70000, "colour": "red"}
    answer = await cast.site.user.post(INSTALL, json=body)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"port", "colour"}


async def test_a_sensitive_default_is_never_shown(cast: Cast) -> None:
    answer = await cast.site.admin.get(cast.path("/api/v1/scripts/{script}"))
    shown = Script.model_validate(answer.json())
    key = shown.parameters[1]
    assert (key.default, key.has_default, key.sensitive) == (None, True, True)
    assert "hunter2xyz" not in answer.text


async def test_history_is_whole_in_pages_of_any_size(cast: Cast) -> None:
    for limit in (1, 2, 3, 1000):
        seen: list[str] = []
        offset = 0
        while True:
            params: dict[str, str | int] = {"task_id": cast.ids["done"]}
            params |= {"offset": offset, "limit": limit}
            answer = await cast.site.user.get("/v1/log/history", params=params)
            page = msgspec.json.decode(answer.content, type=ScriptHistory)
            seen += [message.message for message in page.messages]
            assert page.next_offset == offset + len(page.messages)
            offset = page.next_offset
            if offset >= page.total:
                break
        assert seen == LINES


async def test_messages_say_level_and_progress(cast: Cast) -> None:
    params = {"task_id": cast.ids["done"]}
    answer = await cast.site.user.get("/v1/log/history", params=params)
    messages = answer.json()["messages"]
    assert [message["level"] for message in messages] == [
        *("INFO", "INFO", "INFO", "ERROR", "WARN", "INFO", "INFO")
    ]
    assert [message["progress"] for message in messages] == [0, 0, 25, 25, 25, 50, 63]
    assert messages[-1]["step"] == "Unpacking"
    assert (messages[-1]["current_step"], messages[-1]["total_steps"]) == (3, 4)
    assert [message["line_num"] for message in messages] == list(range(1, 8))


async def test_a_status_says_how_it_ended(cast: Cast) -> None:
    answer = await cast.site.user.get(cast.path("/v1/log/status?task_id={failed}"))
    status = ScriptStatus.model_validate(answer.json())
    assert (status.exit_code, status.step, status.total_steps) == (3, "Unpacking", 4)
    assert status.started_at is not None
    assert status.completed_at is not None
    answer = await cast.site.user.get(cast.path("/v1/log/status?task_id={queued}"))
    waiting = ScriptStatus.model_validate(answer.json())
    assert (waiting.started_at, waiting.exit_code) == (None, None)


async def test_the_polling_call_spares_who_has_it(cast: Cast) -> None:
    path = cast.path("/v1/soft/getlog?fn={done}")
    whole = await cast.site.user.get(path)
    etag = whole.headers["etag"]
    again = await cast.site.user.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    part = await cast.site.user.get(path, headers={"range": "bytes=15-"})
    assert (part.status_code, part.text) == (206, TEXT[15:])
    beyond = await cast.site.user.get(path, headers={"range": f"bytes={len(TEXT)}-"})
    assert beyond.status_code == 416
    head = await cast.site.user.head(path)
    assert head.headers["content-length"] == str(len(TEXT))
    assert "content-disposition" not in whole.headers
    assert whole.headers["x-content-type-options"] == "nosniff"


async def test_the_old_shape_of_logs_is_as_it_was(cast: Cast) -> None:
    answer = await cast.site.user.get(cast.path("/api/v1/tasks/{done}/logs"))
    assert "content" not in answer.json()
    text = await cast.site.user.get(cast.path("/api/v1/tasks/{done}/logs?format=text"))
    assert "found tar" in text.text


async def test_records_carry_what_the_agent_said(cast: Cast) -> None:
    answer = await cast.site.user.get(
        cast.path("/api/v1/tasks/{failed}/logs?level=ERROR&page=0&size=10")
    )
    page = answer.json()
    assert page["total_elements"] == 1
    [record] = page["content"]
    assert record["type"] == "log"
    assert record["taskId"] == cast.ids["failed"]
    assert (record["source"], record["level"]) == ("stderr", "ERROR")
    assert (record["message"], record["lineNumber"]) == ("ERROR: mirror is away", 4)
    assert record["metadata"] == {"processId": 4711, "scriptPath": "/tmp/x.sh"}


# --- pages of other hosts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        ("/v1/log/status?task_id={done}", "https://panel.example.com", True),
        ("/v1/log/history?task_id=none", "https://panel.example.com", True),
        ("/v1/log/status?task_id={done}", "https://evil.example.com", False),
        ("/api/v1/tasks/{done}", "https://panel.example.com", False),
    ],
)
async def test_pages_of_known_hosts_may_read(
    cast: Cast, path: str, origin: str, allowed: bool
) -> None:
    answer = await cast.site.user.get(cast.path(path), headers={"origin": origin})
    named = answer.headers.get("access-control-allow-origin")
    assert named == (origin if allowed else None)
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    preflight = await cast.site.nobody.options(cast.path(path), headers=asked)
    named = preflight.headers.get("access-control-allow-origin")
    assert named == (origin if allowed else None)
    assert (preflight.status_code == 200) == allowed
    assert "access-control-allow-credentials" not in preflight.headers


async def test_the_pages_script_may_be_kept_and_shared(cast: Cast) -> None:
    answer = await cast.site.nobody.get("/embed.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "max-age" in answer.headers["cache-control"]
    etag = answer.headers["etag"]
    again = await cast.site.nobody.get("/embed.js", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


# --- WebSockets -------------------------------------------------------------------------

SOCKETS = {
    "/v1/log/ws?task_id={}": "message",
    "/ws/logs?task_id={}": "line",
    "/ws/tasks/{}?": "message",
}


async def watched(
    site: Site, path: str, *, origin: str | None = None, token: str | None = None
) -> list[dict[str, Any]]:
    """All messages to the server's close."""
    given = site.token if token is None else token
    headers = {"Authorization": f"Bearer {given}"} if given else {}
    async with connect(
        site.url.replace("http", "ws", 1) + path,
        additional_headers=headers,
        origin=origin,  # type: ignore[arg-type]
        proxy=None,
    ) as socket:
        return [json.loads(message) async for message in socket]


async def refusal(site: Site, path: str, **fields: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        await watched(site, path, **fields)
    response = refused.value.response
    return response.status_code, bytes(response.body or b"").decode()


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_brings_history_and_the_end(cast: Cast, path: str) -> None:
    name = SOCKETS[path]
    messages = await watched(cast.site, path.format(cast.ids["done"]))
    first, *lines, last = messages
    assert first["type"] == "connected"
    assert [line[name] for line in lines] == LINES
    assert (last["type"], last["status"]) == ("completed", "success")


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("after", [0, 3, 7, 900])
async def test_a_socket_goes_on_behind_a_line(
    cast: Cast, path: str, after: int
) -> None:
    place = "offset" if path.startswith("/ws/logs") else "after"
    address = f"{path.format(cast.ids['done'])}&{place}={after}"
    _, *lines, last = await watched(cast.site, address)
    assert [line[SOCKETS[path]] for line in lines] == LINES[after:]
    assert last["type"] == "completed"


@pytest.mark.parametrize("path", SOCKETS)
async def test_what_a_socket_refuses(cast: Cast, path: str) -> None:
    site, done = cast.site, path.format(cast.ids["done"])
    place = "offset" if path.startswith("/ws/logs") else "after"
    unknown = path.format("task-none")
    assert (await refusal(site, done, token=""))[0] == 401
    assert (await refusal(site, done, token="slu_x"))[0] == 401
    assert (await refusal(site, done, token=site.agent.token))[0] == 403
    status, words = await refusal(site, done, origin="https://evil.example.com")
    assert (status, "allowed_origins" in words) == (403, True)
    status, words = await refusal(site, unknown)
    assert (status, "task-none" in words) == (404, True)
    status, words = await refusal(site, f"{done}&{place}=x")
    assert (status, f"{place} is" in words) == (422, True)
    status, words = await refusal(site, path.format(cast.ids["removed"]))
    assert (status, "log_retention_days" in words) == (410, True)
    if "task_id=" in path:
        status, words = await refusal(site, path.partition("?")[0])
        assert (status, "task_id is missing" in words) == (422, True)
    assert await watched(site, done, origin="https://panel.example.com")


async def test_a_socket_is_live_and_every_dialect_agrees(cast: Cast) -> None:
    site, going = cast.site, cast.going
    address = site.url.replace("http", "ws", 1)
    headers = {"Authorization": f"Bearer {site.token}"}
    seen: dict[str, list[str | bytes]] = {}
    sockets = {}
    for path in SOCKETS:
        socket = await connect(
            address + path.format(going.task_id), additional_headers=headers, proxy=None
        )
        sockets[path] = socket
        seen[path] = []
        for _ in range(1 + len(LINES)):
            seen[path].append(await socket.recv())
    await going.write("[4/4] Installing\nSUCCESS: done\n")
    for path, socket in sockets.items():
        for _ in range(2):
            seen[path].append(await socket.recv())
    await going.finish()
    for path, socket in sockets.items():
        last = [json.loads(message) async for message in socket]
        assert [(one["type"], one["status"]) for one in last] == [
            ("completed", "success")
        ]
        lines = [json.loads(message) for message in seen[path][1:]]
        assert [line[SOCKETS[path]] for line in lines] == [
            *LINES,
            "[4/4] Installing",
            "SUCCESS: done",
        ]
        if path.startswith("/v1/"):
            assert [line["progress"] for line in lines][-2:] == [75, 75]
            assert lines[-1]["level"] == "SUCCESS"
            assert last[0]["progress"] == 100
