"""Every endpoint of pools and agents: one row an answer, success and each error."""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.server.settings import ServerSettings
from tests.agents.house import Caller, House, Job, open_house

PREFIX = struct.Struct("<QQ")
RESULT = {"outcome": "failed", "log_end": {"offset": 0, "next_line": 1}}
STATE = b'{"version":4,"serial":1,"lineage":"l-1","terraform_version":"1.11.4","resources":[]}'


@dataclass
class Cast:
    """Who speaks in the rows, and the ids that `{name}` stands for in them."""

    house: House
    job: Job
    callers: dict[str, Caller]
    ids: dict[str, str]

    def filled(self, part: Any) -> Any:
        """``part`` with names replaced by ids, in texts and one level of a body."""
        if isinstance(part, str):
            return part.format(**self.ids)
        if isinstance(part, dict):
            return {key: self.filled(value) for key, value in part.items()}
        return part


@pytest.fixture(scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    folder = tmp_path_factory.mktemp("house")
    settings = ServerSettings(data_dir=folder, port=0, host="127.0.0.1")
    async with open_house(settings) as house:
        workspace = await house.workspace("busy")
        for _ in range(2):
            await house.admin.post(
                f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
            )
        job, ended = await house.work(), await house.work()
        await ended.finish("failed", error="it had to")
        pool_token = Caller(house.http, house.pool_token)
        other = await pool_token.post(
            "/agents/register", {"name": "other", "version": "0.1"}
        )
        (pool,) = await house.admin.get("/organizations/acme/pools")
        yield Cast(
            house,
            job,
            {
                "admin": house.admin,
                "agent": house.agent,
                "other": Caller(house.http, other["token"]),
                "task": job.caller,
                "ended": ended.caller,
                "pool": pool_token,
                "nobody": Caller(house.http, ""),
                "liar": Caller(house.http, "not.a.token"),
            },
            {
                "agent": house.agent_id,
                "other": other["agent_id"],
                "pool": pool["id"],
                "workspace": workspace,
                "task": job.order["task_id"],
                "lease": job.order["lease_id"],
                "done": ended.order["task_id"],
                "done_lease": ended.order["lease_id"],
            },
        )


ME = "/agents/{agent}"
HERE = "/agents/{agent}/tasks/{task}"
PING = {"agent_id": "{agent}", "busy": False}
PULL = {"slots": {"plan": 0, "apply": 0}, "wait_seconds": 0}
LEASE = {"lease_id": "{lease}"}
ACME = "/organizations/acme"

# caller, method, path, body, status, words of the answer; in this order on one server
ROWS: list[tuple[str, str, str, Any, int, str]] = [
    # register
    ("pool", "POST", "/agents/register", {"name": "x", "version": "0.1"}, 200, "token"),
    ("pool", "POST", "/agents/register", {"name": "", "version": "0.1"}, 422, "name"),
    ("pool", "POST", "/agents/register", {"version": "0.1"}, 422, "name"),
    (
        "pool",
        "POST",
        "/agents/register",
        {"name": "a\x1b", "version": ""},
        422,
        "print",
    ),
    ("pool", "POST", "/agents/register", {"name": "y", "version": "99.0.0"}, 409, "99"),
    ("admin", "POST", "/agents/register", {"name": "x", "version": "0.1"}, 403, ""),
    ("agent", "POST", "/agents/register", {"name": "x", "version": "0.1"}, 403, ""),
    ("nobody", "POST", "/agents/register", {"name": "x", "version": "0.1"}, 401, ""),
    # ping
    ("agent", "POST", f"{ME}/ping", PING, 200, "commands"),
    ("agent", "POST", f"{ME}/ping", PING | {"newer_field": 1}, 200, "commands"),
    ("agent", "POST", f"{ME}/ping", PING | {"plan_tasks_running": -1}, 422, "plan_"),
    ("agent", "POST", f"{ME}/ping", PING | {"cpu_usage": "much"}, 422, "cpu_usage"),
    ("other", "POST", f"{ME}/ping", PING, 403, "not of {agent}"),
    ("task", "POST", f"{ME}/ping", PING, 403, ""),
    ("admin", "POST", f"{ME}/ping", PING, 403, ""),
    ("liar", "POST", f"{ME}/ping", PING, 401, ""),
    # pull
    ("agent", "POST", f"{ME}/tasks/pull", PULL, 204, ""),
    ("agent", "POST", f"{ME}/tasks/pull", PULL | {"wait_seconds": 31}, 422, "wait_"),
    ("agent", "POST", f"{ME}/tasks/pull", {}, 422, "slots"),
    ("other", "POST", f"{ME}/tasks/pull", PULL, 403, "not of {agent}"),
    ("pool", "POST", f"{ME}/tasks/pull", PULL, 403, ""),
    ("nobody", "POST", f"{ME}/tasks/pull", PULL, 401, ""),
    # started
    ("task", "POST", f"{HERE}/started", LEASE, 200, ""),
    ("agent", "POST", f"{HERE}/started", LEASE, 200, ""),
    ("agent", "POST", f"{HERE}/started", {}, 422, "lease_id"),
    ("agent", "POST", f"{HERE}/started", {"lease_id": "lease-none"}, 404, "lease-none"),
    ("other", "POST", f"{HERE}/started", LEASE, 403, ""),
    ("ended", "POST", f"{HERE}/started", LEASE, 403, ""),
    ("admin", "POST", f"{HERE}/started", LEASE, 403, ""),
    ("nobody", "POST", f"{HERE}/started", LEASE, 401, ""),
    # configuration, state and plan, by the task's own token
    ("task", "GET", "/tasks/{task}/configuration", None, 200, ""),
    ("ended", "GET", "/tasks/{task}/configuration", None, 403, ""),
    ("nobody", "GET", "/tasks/{task}/configuration", None, 401, ""),
    ("task", "GET", "/tasks/{task}/state", None, 204, ""),
    ("task", "PUT", "/tasks/{task}/state", STATE, 409, "an apply"),
    ("ended", "GET", "/tasks/{task}/state", None, 403, ""),
    ("admin", "PUT", "/tasks/{task}/state", STATE, 403, ""),
    ("task", "PUT", "/tasks/{task}/plan-file", b"a plan", 200, ""),
    ("task", "PUT", "/tasks/{task}/plan-file", b"a plan", 200, ""),
    ("ended", "PUT", "/tasks/{task}/plan-file", b"a plan", 403, ""),
    ("task", "PUT", "/tasks/{task}/plan-json", b"{", 422, ""),
    ("task", "PUT", "/tasks/{task}/plan-json", b'{"format_version":"1.2"}', 200, ""),
    ("nobody", "PUT", "/tasks/{task}/plan-json", b"{}", 401, ""),
    # the log, by PATCH
    ("task", "PATCH", "/tasks/{task}/log", PREFIX.pack(1, 0), 200, "committed"),
    ("task", "PATCH", "/tasks/{task}/log", PREFIX.pack(99, 0), 409, "wrong_epoch"),
    ("task", "PATCH", "/tasks/{task}/log", b"short", 422, "no upload"),
    ("agent", "PATCH", "/tasks/{task}/log", PREFIX.pack(1, 0), 422, "lease_id"),
    ("ended", "PATCH", "/tasks/{task}/log", PREFIX.pack(1, 0), 403, ""),
    ("admin", "PATCH", "/tasks/{task}/log", PREFIX.pack(1, 0), 403, ""),
    ("nobody", "PATCH", "/tasks/{task}/log", PREFIX.pack(1, 0), 401, ""),
    # late output: only under a lease that was lost
    ("agent", "POST", f"{HERE}/late-output?lease_id={{lease}}", b"", 409, ""),
    ("other", "POST", f"{HERE}/late-output?lease_id={{lease}}", b"", 403, ""),
    ("admin", "GET", "/tasks/{task}/late-output", None, 200, "[]"),
    ("admin", "GET", "/tasks/task-none/late-output", None, 404, "task-none"),
    ("admin", "GET", "/tasks/{task}/late-output/lease-none", None, 404, ""),
    # finish
    ("agent", "POST", f"{HERE}/finish", LEASE | {"outcome": "won"}, 422, "outcome"),
    (
        "agent",
        "POST",
        f"{HERE}/finish",
        LEASE | {"outcome": "failed", "log_end": {"offset": 7, "next_line": 1}},
        409,
        "committed",
    ),
    ("other", "POST", f"{HERE}/finish", LEASE | RESULT, 403, ""),
    ("agent", "POST", f"{HERE}/finish", {"lease_id": "no"} | RESULT, 404, "no"),
    ("agent", "POST", f"{HERE}/finish", LEASE | RESULT, 200, ""),
    ("agent", "POST", f"{HERE}/finish", LEASE | RESULT, 200, ""),
    ("nobody", "POST", f"{HERE}/finish", LEASE | RESULT, 401, ""),
    # pools
    ("admin", "GET", f"{ACME}/pools", None, 200, "idc1"),
    ("nobody", "GET", f"{ACME}/pools", None, 401, ""),
    ("admin", "GET", "/organizations/none/pools", None, 404, "none"),
    ("admin", "POST", f"{ACME}/pools", {"name": "two", "labels": {"r": "b"}}, 201, "r"),
    ("admin", "POST", f"{ACME}/pools", {"name": "two"}, 409, "two"),
    (
        "admin",
        "POST",
        f"{ACME}/pools",
        {"name": "z", "labels": {"": "b"}},
        422,
        "label",
    ),
    ("agent", "POST", f"{ACME}/pools", {"name": "z"}, 403, ""),
    ("admin", "GET", "/pools/{pool}", None, 200, "idc1"),
    ("admin", "GET", "/pools/pool-none", None, 404, "pool-none"),
    ("admin", "PATCH", "/pools/{pool}", {"max_plan_concurrency": 5}, 200, "5"),
    ("admin", "PATCH", "/pools/{pool}", {"max_plan_concurrency": 0}, 422, "max_plan"),
    ("admin", "PATCH", "/pools/pool-none", {"name": "n"}, 404, ""),
    ("admin", "DELETE", "/pools/{pool}", None, 409, "agent"),
    ("admin", "DELETE", "/pools/pool-none", None, 404, ""),
    ("admin", "POST", "/pools/{pool}/tokens", {"name": "second"}, 201, "token"),
    ("admin", "GET", "/pools/{pool}/tokens", None, 200, "second"),
    ("admin", "DELETE", "/pools/{pool}/tokens/tok-none", None, 404, ""),
    ("agent", "GET", "/pools/{pool}/tokens", None, 403, ""),
    # agents, as people see them
    ("admin", "GET", f"{ACME}/agents", None, 200, "builder"),
    ("admin", "GET", ME, None, 200, "plan_running_count"),
    ("admin", "GET", "/agents/agent-none", None, 404, "agent-none"),
    ("admin", "GET", f"{ME}/status", None, 200, ""),
    ("pool", "GET", f"{ME}/status", None, 403, ""),
    ("admin", "POST", f"{ME}/drain", {"reason": "new kernel"}, 200, "new kernel"),
    ("admin", "POST", f"{ME}/resume", {}, 200, ""),
    ("admin", "POST", "/agents/agent-none/drain", {}, 404, ""),
    ("agent", "POST", f"{ME}/drain", {}, 403, ""),
    ("admin", "DELETE", ME, None, 409, ""),
    ("nobody", "DELETE", ME, None, 401, ""),
]


async def test_every_row(cast: Cast) -> None:
    wrong = []
    for caller, method, path, body, status, words in ROWS:
        kind = "content" if isinstance(body, bytes) else "json"
        token = cast.callers[caller].token
        answer = await cast.house.http.request(
            method,
            f"/api/v1{cast.filled(path)}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            **({} if body is None else {kind: cast.filled(body)}),
        )
        fits = answer.status_code == status and cast.filled(words) in answer.text
        problem = "problem+json" in answer.headers.get("content-type", "")
        if not fits or (status in {401, 403, 404, 422} and not problem):
            wrong.append(
                (caller, method, path, status, answer.status_code, answer.text)
            )
    assert not wrong, "\n".join(map(str, wrong))
