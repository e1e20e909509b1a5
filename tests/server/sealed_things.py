"""A server with one of everything that is sealed, and a look at whether all of it can be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from pydantic import SecretStr

from sluice.auth.issuer_key_store import SqlIssuerKeyStore
from sluice.auth.issuer_keys import private_half
from sluice.auth.keyring import encode_key
from sluice.base.ids import NotificationId, new_run_task_id
from sluice.notifications.sealing import secret_of, url_of
from sluice.notifications.store import SqlNotificationStore
from sluice.runtasks.model import RunTask
from sluice.runtasks.sealing import key_of, with_key
from sluice.runtasks.store import SqlRunTaskStore
from sluice.server.serving import serving
from sluice.server.settings import ServerSettings
from tests.agents.house import Caller, House, Job, open_house
from tests.tasks.world import PLAN_JSON, state_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)
COUNTS = {
    "variables": 1,
    "run_variables": 2,
    "scripts_of_tasks": 1,
    "script_defaults": 2,
    "run_task_keys": 1,
    "notification_urls": 1,
    "notification_secrets": 1,
    "issuer_keys": 1,
    "outputs": 2,
    "states": 2,
    "plans": 1,
    "plan_jsons": 1,
}
"""How many of each kind `fill` makes."""


@dataclass(frozen=True)
class Place:
    """Where a server keeps what is its own."""

    directory: Path
    database_url: str

    def settings(self, key: bytes, *former: bytes) -> ServerSettings:
        return ServerSettings(
            data_dir=self.directory,
            port=0,
            shutdown_seconds=2,
            database_url=self.database_url,
            auto_migrate=True,
            encryption_key=SecretStr(encode_key(key)),
            former_encryption_keys=[SecretStr(encode_key(one)) for one in former],
        )

    def environment(self, key: bytes, *former: bytes) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "SLUICE_DATA_DIR": str(self.directory),
            "SLUICE_DATABASE_URL": self.database_url,
            "SLUICE_ENCRYPTION_KEY": encode_key(key),
            "SLUICE_FORMER_ENCRYPTION_KEYS": ",".join(map(encode_key, former)),
        }


@dataclass(frozen=True)
class Things:
    """Ids of what was sealed, and who may read it."""

    admin_token: str
    pool_token: str
    workspace: str
    variable: str
    planned: str
    queued: str
    states: tuple[str, str]
    script: str
    run_task: RunTask
    notification: NotificationId


async def fill(house: House) -> Things:
    """One of everything: a plan that waits for its apply, and a task and a script in the queue."""
    workspace = await house.workspace("sealed")
    variables = f"/workspaces/{workspace}/variables"
    variable = await house.admin.post(
        variables, {"key": "secret", "value": "hunter2", "sensitive": True}, expect=201
    )
    states = f"/workspaces/{workspace}/state-versions"
    stored = [
        await house.admin.ask("POST", states, content=state_of(serial), expect=201)
        for serial in (1, 2)
    ]
    planned = await _planned(house, workspace)
    script = await _script(house)
    queued = await _task(house, await house.workspace("other"), "in the queue")
    assert await house.serving.concepts.identities.published()
    return Things(
        admin_token=house.admin.token,
        pool_token=house.pool_token,
        workspace=workspace,
        variable=variable["id"],
        planned=planned,
        queued=queued,
        states=(stored[0]["id"], stored[1]["id"]),
        script=script,
        run_task=await _run_task(house),
        notification=await _notification(house),
    )


async def _task(house: House, workspace: str, value: str) -> str:
    body = {
        "task_type": "plan_and_apply",
        "variables": [{"key": "run", "value": value}],
    }
    made = await house.admin.post(f"/workspaces/{workspace}/tasks", body, expect=201)
    return str(made["id"])


async def _planned(house: House, workspace: str) -> str:
    task_id = await _task(house, workspace, "planned")
    job = await house.work()
    await job.started()
    await job.caller.put(f"{job.here}/plan-file", b"PLAN\x00")
    await job.caller.put(f"{job.here}/plan-json", PLAN_JSON.read_bytes())
    await job.finish(has_changes=True)
    return task_id


async def _script(house: House) -> str:
    hidden = {"sensitive": True, "type": "string"}
    body = {
        "key": "nginx",
        "body": "#!/bin/sh\ntrue\n",
        "parameters": [
            {"name": "LICENSE", "default": "abc-123", **hidden},
            {"name": "TOKEN", "default": "def-456", **hidden},
        ],
    }
    made = await house.admin.post("/organizations/acme/scripts", body, expect=201)
    await install(house)
    return str(made["id"])


async def install(house: House) -> None:
    answer = await house.http.post(
        "/v1/soft/install",
        json={"key": "nginx", "organization": "acme"},
        headers={"Authorization": f"Bearer {house.admin.token}"},
    )
    assert answer.status_code == 200, answer.text


async def _run_task(house: House) -> RunTask:
    parts = house.serving.parts
    organization = await house.admin.get("/organizations/acme")
    run_task = RunTask(
        id=new_run_task_id(),
        organization_id=organization["id"],
        name="checkov",
        endpoint_url="https://checkov.example/",
        created_by="ann",
        created_at=NOW,
        updated_at=NOW,
    )
    async with parts.database.write() as tx:
        run_task = with_key(parts.keyring, run_task, "signs-calls")
        await SqlRunTaskStore().add(tx, run_task)
    return run_task


async def _notification(house: House) -> NotificationId:
    body = {
        "name": "ops",
        "kind": "webhook",
        "endpoint_url": "https://hooks.example.com/T0KEN",
        "secret": "signs-webhooks",
    }
    made = await house.admin.post("/organizations/acme/notifications", body, expect=201)
    return NotificationId(made["notification_id"])


@asynccontextmanager
async def open_again(settings: ServerSettings, things: Things) -> AsyncIterator[House]:
    """The server again, with an agent that registers anew."""
    async with (
        serving(settings) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=40) as http,
    ):
        agent = await Caller(http, things.pool_token).post(
            "/agents/register", {"name": "another", "version": "0.1"}
        )
        yield House(
            server,
            http,
            Caller(http, things.admin_token),
            things.pool_token,
            Caller(http, agent["token"]),
            agent["agent_id"],
        )


@asynccontextmanager
async def filled_house(settings: ServerSettings) -> AsyncIterator[tuple[House, Things]]:
    """A new server with one of everything."""
    async with open_house(settings) as house:
        yield house, await fill(house)


async def work_of(house: House, count: int) -> list[Job]:
    """So many phases that wait for an agent."""
    jobs = [await house.pull(wait=20, plan=9, apply=1) for _ in range(count)]
    found = [job for job in jobs if job is not None]
    assert len(found) == count
    return found


async def read_everything(house: House, things: Things) -> None:
    """Each sealed thing by the way it is read: orders, downloads, and an apply of the plan."""
    admin = house.admin
    for serial, version in enumerate(things.states, 1):
        state = await admin.get(f"/state-versions/{version}/download")
        assert state["serial"] == serial
    (output,) = await admin.get(f"/workspaces/{things.workspace}/outputs")
    assert output["value"] == 2
    of_task = f"/workspaces/{things.workspace}/tasks/{things.planned}"
    plan = await admin.get(f"{of_task}/plan-json")
    assert plan["format_version"] == "1.2"

    parts = house.serving.parts
    async with parts.database.read() as tx:
        run_task = await SqlRunTaskStore().get(tx, things.run_task.id)
    assert run_task is not None
    assert key_of(parts.keyring, run_task) == "signs-calls"
    async with parts.database.read() as tx:
        notification = await SqlNotificationStore().get(tx, things.notification)
    assert notification is not None
    assert url_of(parts.keyring, notification).endswith("/T0KEN")
    assert secret_of(parts.keyring, notification) == "signs-webhooks"
    async with parts.database.read() as tx:
        (issuer_key,) = await SqlIssuerKeyStore().list_keys(tx)
    assert private_half(parts.keyring, issuer_key).thumbprint() == issuer_key.id

    await install(house)
    jobs = await work_of(house, 3)
    (plan_job,) = [job for job in jobs if job.order["phase"] == "plan"]
    assert plan_job.order["task_id"] == things.queued
    (variable,) = plan_job.order["variables"]
    assert variable["value"] == "in the queue"
    scripts = [job.order["script"] for job in jobs if job.order["phase"] == "script"]
    assert len(scripts) == 2
    for script in scripts:
        assert script["environment"] == {"LICENSE": "abc-123", "TOKEN": "def-456"}

    # nothing else begins beside an apply
    await admin.post(f"/tasks/{things.planned}/confirm")
    (apply,) = await work_of(house, 1)
    assert apply.order["task_id"] == things.planned
    values = {item["key"]: item["value"] for item in apply.order["variables"]}
    assert values == {"secret": "hunter2", "run": "planned"}
    await apply.started()
    assert await apply.caller.get(f"{apply.here}/plan-file") == b"PLAN\x00"
