"""Runs outside agents and late output over real HTTP: every route, its answers and refusals."""

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.base.clock import SystemClock, to_micros
from sluice.logs.incoming import join_upload
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from sluice.tasks.leases import expire_leases
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk

Json = dict[str, Any]


@dataclass
class House:
    """A server with an organization, its administrator and a pool's token."""

    serving: Serving
    http: httpx2.AsyncClient
    user: str
    pool: str
    pool_id: str

    async def ask(
        self,
        token: str,
        method: str,
        path: str,
        *,
        expect: int = 200,
        **kwargs: Any,
    ) -> Any:
        answer = await self.http.request(
            method,
            f"/api/v1{path}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            **kwargs,
        )
        assert answer.status_code == expect, answer.text
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.json() if is_json else answer.content

    async def post(self, token: str, path: str, body: Any, expect: int = 200) -> Any:
        return await self.ask(token, "POST", path, json=body, expect=expect)

    async def get(self, path: str, expect: int = 200) -> Any:
        return await self.ask(self.user, "GET", path, expect=expect)

    async def begin(
        self, task_id: str = "task123", run: str = "run-1", **fields: Any
    ) -> Json:
        body = {"run_id": run, **fields}
        answer: Json = await self.post(self.pool, f"/tasks/{task_id}/exec", body)
        return answer


@asynccontextmanager
async def open_house(directory: Path) -> AsyncIterator[House]:
    settings = ServerSettings(data_dir=directory, port=0, shutdown_seconds=2)
    async with (
        serving(settings) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=40) as http,
    ):
        house = House(server, http, "", "", "")
        setup = {"token": server.setup_token, "name": "ann"}
        answer = await house.post("", "/auth/setup", setup, expect=201)
        house.user = answer["token"]
        organizations = await house.get("/organizations")
        if not organizations:
            body = {"name": "acme"}
            await house.post(house.user, "/organizations", body, expect=201)
            organizations = await house.get("/organizations")
        here = f"/organizations/{organizations[0]['id']}/pools"
        pool = await house.post(house.user, here, {"name": "k8s"}, expect=201)
        made = await house.post(
            house.user, f"/pools/{pool['id']}/tokens", {"name": "job"}, expect=201
        )
        house.pool, house.pool_id = made["token"], pool["id"]
        yield house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


def chunk(data: bytes, offset: int = 0, line: int = 1) -> Chunk:
    now = to_micros(SystemClock().now())
    return Chunk(offset, line, Source.STDOUT, Kind.OUTPUT, now, data)


# --- a run that uploads ------------------------------------------------------


async def test_a_run_uploads_its_log_and_finishes(house: House) -> None:
    run = await house.begin(host="k8s-7", script_path="./script.sh", process_id=7)
    token, task = run["task_token"], "/tasks/task123"
    assert run["agent_id"].startswith("exec-")
    shown = await house.get(task)
    assert (shown["status"], shown["task_type"]) == ("running", "script")
    assert (shown["workspace_id"], shown["exit_code"]) == (None, None)
    assert shown["script"] == {"name": "script.sh", "key": "", "version": ""}
    assert shown["agent_name"] == "sluice exec on k8s-7"
    assert shown["created_by"] == f"pool {house.pool_id}"
    message = join_upload(run["log"]["epoch"], 0, encode_chunk(chunk(b"one\ntwo\n")))
    ack = await house.ask(token, "PATCH", f"{task}/log", content=message)
    assert (ack["status"], ack["committed"]) == ("ok", 8)
    await house.post(house.pool, f"{task}/logs", {"message": "x"}, expect=409)
    body = {
        "lease_id": run["lease_id"],
        "outcome": "failed",
        "exit_code": 3,
        "log_end": {"offset": 8, "next_line": 3},
    }
    finish = f"/agents/{run['agent_id']}/tasks/task123/finish"
    await house.post(token, finish, body)
    again = await house.begin()
    await house.post(again["task_token"], finish, body)
    done = await house.get(task)
    assert (done["status"], done["exit_code"]) == ("failed", 3)
    assert done["error"] == "The script ended with exit code 3."
    logs = await house.get(f"{task}/logs")
    assert logs["logs"]["plan"] is None
    assert logs["logs"]["script"] == {
        "output": "one\ntwo\n",
        "line_count": 2,
        "size_bytes": 8,
    }
    text = await house.get(f"{task}/logs?format=text&type=script")
    assert text.decode() == (
        "=== SCRIPT OUTPUT ===\none\ntwo\n"
        "=== ERROR ===\nThe script ended with exit code 3.\n"
    )
    download = (await house.get(f"{task}/logs/download")).decode()
    assert f"SCRIPT OUTPUT:\n{'-' * 80}\none\ntwo\n" in download
    refused = await house.post(
        house.pool, f"{task}/exec", {"run_id": "run-2"}, expect=409
    )
    assert refused["task_status"] == "failed"


async def test_runs_are_listed_with_the_organizations_tasks(house: House) -> None:
    await house.begin("first")
    await house.begin("second")
    (organization,) = await house.get("/organizations")
    here = f"/organizations/{organization['id']}/tasks"
    found = await house.get(f"{here}?task_type=script&status=running&limit=1")
    assert found["total"] == 2
    (row,) = found["tasks"]
    assert (row["id"], row["script"]["name"]) == ("second", "script")
    assert (await house.get(f"{here}?script=none"))["total"] == 0


async def test_begin_refuses_what_it_cannot_take(house: House) -> None:
    await house.begin()
    held = await house.post(
        house.user, "/tasks/task123/exec", {"run_id": "other"}, expect=409
    )
    assert "is held by sluice exec (run run-1)" in held["detail"]
    for path, body in (
        ("/tasks/task9/exec", {}),
        ("/tasks/task9/exec", {"run_id": "bad id"}),
        ("/tasks/-x/exec", {"run_id": "r"}),
        ("/tasks/task9/exec", {"run_id": "r", "writer": "nobody"}),
    ):
        await house.post(house.user, path, body, expect=422)
    await house.post(
        house.user, "/tasks/t/exec?organization=none", {"run_id": "r"}, expect=404
    )
    await house.get("/tasks/task9", expect=404)


async def test_who_may_begin(house: House) -> None:
    run = await house.begin()
    body = {"run_id": "r"}
    await house.post("", "/tasks/new/exec", body, expect=401)
    await house.post(run["task_token"], "/tasks/new/exec", body, expect=403)
    registered = await house.post(
        house.pool, "/agents/register", {"name": "a", "version": "0.1"}
    )
    await house.post(registered["token"], "/tasks/new/exec", body, expect=403)
    await house.post(registered["token"], "/tasks/task123/logs", {"message": "x"}, 403)
    made = await house.post(house.user, "/tasks/new/exec", body)
    assert (await house.get("/tasks/new"))["created_by"] == "ann"
    assert made["task_id"] == "new"


# --- a run whose log the server writes ---------------------------------------


async def test_records_are_stored_in_order_and_the_run_ends(house: House) -> None:
    run = await house.begin(writer="records", script_path="/app/s.sh")
    logs = "/tasks/task123/logs"
    one = {
        "type": "log",
        "taskId": "task123",
        "timestamp": "2026-11-21T10:00:00.123Z",
        "source": "stderr",
        "level": "WARN",
        "message": "careful",
        "lineNumber": 99,
        "metadata": {"processId": 42, "scriptPath": "./x.sh"},
    }
    assert await house.post(house.pool, logs, one) == {"id": "task123-1"}
    many = [{"message": f"line {n}", "level": "info"} for n in range(3)]
    answer = await house.post(house.user, logs, many)
    assert answer == {"accepted": 3, "next_line": 5}
    token = run["task_token"]
    assert await house.post(token, logs, {"message": "two\nlines"}) == {
        "id": "task123-5"
    }
    broken = {"message": "broken", "level": "ERROR", "timestamp": "2026-11-21 10:00"}
    await house.post(token, logs, broken)
    end = {"lease_id": run["lease_id"], "exit_code": 0}
    await house.post(token, "/tasks/task123/exec/end", end)
    await house.post(token, "/tasks/task123/exec/end", end)
    done = await house.get("/tasks/task123")
    assert (done["status"], done["exit_code"]) == ("success", 0)
    assert [stage["status"] for stage in done["stages"]] == ["completed"]
    text = await house.get("/tasks/task123/logs/download?raw=true")
    assert text == (b"careful\nline 0\nline 1\nline 2\ntwo\nlines\nbroken\n")
    late = await house.post(house.pool, logs, one, expect=409)
    assert "has ended" in late["detail"]


async def test_records_that_cannot_be_taken(house: House) -> None:
    await house.begin(writer="records")
    logs = "/tasks/task123/logs"
    for body in (
        [],
        {},
        {"message": 5},
        {"message": "x", "level": "LOUD"},
        {"message": "x", "source": "elsewhere"},
        {"message": "x" * 70_000},
        {"message": "x", "metadata": {"processId": -1}},
        [{"message": "fine"}, {"level": "INFO"}],
    ):
        await house.post(house.pool, logs, body, expect=422)
    for body, fault in (
        ({"message": 5}, "record.message: "),
        ([{"message": "fine"}, {"level": "INFO"}], "records.1.message: Field required"),
    ):
        answer = await house.post(house.pool, logs, body, expect=422)
        assert answer["detail"].startswith(fault), (
            "one fault, of the form that was sent"
        )
        assert len(answer["errors"]) == 1
    await house.post(house.pool, "/tasks/none/logs", {"message": "x"}, expect=404)
    assert (await house.get("/tasks/task123"))["status"] == "running"
    strange = {"message": "a\x00b\ud800", "extra": {"of": "a newer client"}}
    content = json.dumps(strange).encode()
    await house.http.post(
        f"/api/v1{logs}",
        content=content,
        headers={
            "Authorization": f"Bearer {house.pool}",
            "Content-Type": "application/json",
        },
    )
    text = await house.get("/tasks/task123/logs/download?raw=true")
    assert text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\n".encode()


async def test_only_the_runs_own_token_ends_it(house: House) -> None:
    run = await house.begin(writer="records")
    end = {"lease_id": run["lease_id"], "exit_code": 0}
    path = "/tasks/task123/exec/end"
    await house.post(house.user, path, end, expect=403)
    other = await house.begin("other", writer="records")
    await house.post(other["task_token"], path, end, expect=403)
    big = {**end, "exit_code": 2**31}
    await house.post(run["task_token"], path, big, expect=422)
    await house.post(run["task_token"], path, end)


async def test_many_records_at_once(house: House) -> None:
    """40 lists of 50 records, all under way together: each whole, none lost or double."""
    await house.begin(writer="records")

    async def send(number: int) -> None:
        body = [{"message": f"{number}/{at}"} for at in range(50)]
        answer = await house.post(house.pool, "/tasks/task123/logs", body)
        assert answer["accepted"] == 50

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(send(number))
    text = await house.get("/tasks/task123/logs/download?raw=true")
    lines = text.decode().splitlines()
    assert len(lines) == 2000
    for begin in range(0, 2000, 50):
        number = lines[begin].partition("/")[0]
        assert lines[begin : begin + 50] == [f"{number}/{at}" for at in range(50)]


# --- late output -------------------------------------------------------------


async def test_an_agent_delivers_what_it_had_captured(house: House) -> None:
    agent = await house.post(
        house.pool, "/agents/register", {"name": "idc1-a", "version": "0.1"}
    )
    tasks = house.serving.concepts.tasks
    order = await _lost_before_it_began(house, agent)
    task_id, lease_id = order["task_id"], order["lease_id"]
    path = f"/agents/{agent['agent_id']}/tasks/{task_id}/late-output"
    captured = encode_chunk(chunk(b"captured\n"))
    await house.ask(
        agent["token"],
        "POST",
        f"{path}?lease_id={lease_id}",
        content=captured,
        expect=409,
    )
    async with tasks.transactions.write() as tx:
        task = await tasks.store.lock(tx, task_id)
        assert task is not None
        assert task.lease is not None
        over = replace(task.lease, expires_at=tasks.clock.now())
        await tasks.store.save(tx, replace(task, lease=over))
    await expire_leases(tasks)

    async def deliver(content: bytes, token: str, expect: int = 200) -> Any:
        return await house.ask(
            token, "POST", f"{path}?lease_id={lease_id}", content=content, expect=expect
        )

    assert await deliver(b"", agent["token"]) == {"committed": 0, "open": True}
    for _ in range(2):
        answer = await deliver(captured, agent["token"])
        assert answer == {"committed": 9, "open": True}
    too_late = encode_chunk(chunk(b"too late\n", 9, 2))
    assert await deliver(too_late, agent["token"]) == {"committed": 9, "open": False}
    gap = await deliver(encode_chunk(chunk(b"x", 99)), agent["token"], expect=409)
    assert gap["committed"] == 9
    await deliver(b"nonsense", agent["token"], expect=422)
    await deliver(captured, house.user, expect=403)
    await deliver(captured, house.pool, expect=403)
    (kept,) = await house.get(f"/tasks/{task_id}/late-output")
    assert (kept["lease_id"], kept["agent_name"]) == (lease_id, "idc1-a")
    assert (kept["bytes"], kept["lines"]) == (9, 1)
    text = await house.get(f"/tasks/{task_id}/late-output/{lease_id}")
    assert text == b"captured\n"
    await house.get(f"/tasks/{task_id}/late-output/lease-x", expect=404)
    await house.get("/tasks/task-x/late-output", expect=404)
    shown = await house.get(f"/tasks/{task_id}")
    assert [action["action"] for action in shown["actions"]] == ["late output kept"]


async def _lost_before_it_began(house: House, agent: Json) -> Json:
    """An order that the agent took and never began."""
    (organization,) = await house.get("/organizations")
    here = f"/organizations/{organization['id']}/workspaces"
    made = await house.post(house.user, here, {"name": "w"}, expect=201)
    version = await house.post(
        house.user, f"/workspaces/{made['id']}/configuration-versions", None, 201
    )
    upload = version["upload_url"].removeprefix("/api/v1")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("main.tf"), io.BytesIO(b""))
    await house.ask(house.user, "PUT", upload, content=buffer.getvalue())
    await house.post(
        house.user, f"/workspaces/{made['id']}/tasks", {"task_type": "plan"}, 201
    )
    order: Json = await house.post(
        agent["token"],
        f"/agents/{agent['agent_id']}/tasks/pull",
        {"slots": {"plan": 1}, "wait_seconds": 5},
    )
    return order
