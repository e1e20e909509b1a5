"""Every route of the OpenAPI document answers whatever comes as the document says.

`FUZZ=1` (`make fuzz`) goes on with made-up requests and sequences, on PostgreSQL as well.
"""

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from sluice.auth.permissions import Permission
from sluice.server.settings import ServerSettings, load_settings
from tests.agents.house import House, open_house
from tests.server.schema_fuzz import Caller, Depth, Run, Share, operations_of, try_all

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("quiet")]

FUZZ = bool(os.environ.get("FUZZ"))
DEEP = Depth(
    phases=("coverage", "fuzzing", "stateful"),
    examples=30,
    seconds=900,
    seed=int(os.environ.get("FUZZ_SEED", secrets.randbelow(10**9))),
)
DEPTH = DEEP if FUZZ else Depth()
LIMITS = {
    "requests_per_minute_per_address": 0,
    "requests_per_minute_per_credential": 0,
    "requests_per_minute_per_organization": 0,
    "failed_credentials_per_minute_per_address": 0,
    "streams_per_minute_per_address": 10_000,
    "streams_per_user": 1000,
    "stream_idle_seconds": 5,
}
OF_AGENTS = frozenset({Permission.REGISTER_AGENT, Permission.WORK})
OF_TASKS = frozenset(
    {Permission.TASK_DATA, Permission.WRITE_RECORDS, Permission.REVIEW_SECRETS}
)


def settings(directory: Path, database_url: str = "") -> ServerSettings:
    """Rates are not what is looked at here."""
    given: dict[str, object] = {
        "data_dir": directory / "server",
        "port": 0,
        "shutdown_seconds": 2,
    }
    known = {
        name: LIMITS[name] for name in LIMITS if name in ServerSettings.model_fields
    }
    given |= {"database_url": database_url, "auto_migrate": True}
    return load_settings({**given, **known})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(settings(tmp_path)) as opened:
        yield opened


@dataclass(frozen=True)
class Filled:
    """What stands in the house."""

    task_token: str
    spare: str
    ended: str

    def caller(self, token: str) -> Caller:
        """Somebody who calls."""
        return Caller(token, self.spare, self.ended)


async def filled(house: House) -> Filled:
    """Put a workspace into it, a task that has ended, one that is worked on, and an admin."""
    workspace_id = await house.workspace("web")
    tasks = f"/workspaces/{workspace_id}/tasks"
    ended = await house.admin.post(tasks, {"task_type": "plan"}, expect=201)
    await house.admin.post(f"/tasks/{ended['id']}/cancel", {})
    await house.admin.post(tasks, {"task_type": "plan"}, expect=201)
    job = await house.work()
    await job.started()
    await job.say(b"planning\n")
    eve = await house.admin.post("/users", {"name": "eve", "admin": True}, expect=201)
    spare = await house.admin.post(
        f"/users/{eve['id']}/tokens", {"name": "spare"}, expect=201
    )
    return Filled(job.caller.token, spare["token"], ended["id"])


async def found_nothing(house: House, run: Run) -> None:
    """Nothing was found, and the administrator is as welcome as before."""
    assert run.exit_code == 0, run.failures
    assert run.tried > run.wanted // 2 > 1, run.output[-4000:]
    answer = await house.http.get(
        "/api/v1/organizations",
        headers={"Authorization": f"Bearer {house.admin.token}"},
    )
    assert answer.status_code == 200, answer.text


PARTS = 3


@pytest.mark.parametrize("part", range(PARTS))
async def test_what_a_site_admin_may_call_answers_as_documented(
    house: House, tmp_path: Path, part: int
) -> None:
    there = await filled(house)
    caller = there.caller(house.admin.token)
    share = Share(part=part, parts=PARTS)
    run = await try_all(house.serving.url, caller, tmp_path, depth=DEPTH, share=share)
    await found_nothing(house, run)


async def test_what_an_agent_may_call_answers_as_documented(
    house: House, tmp_path: Path
) -> None:
    there = await filled(house)
    caller = there.caller(house.agent.token)
    share = Share(OF_AGENTS)
    run = await try_all(house.serving.url, caller, tmp_path, depth=DEPTH, share=share)
    await found_nothing(house, run)


async def test_what_a_task_may_call_answers_as_documented(
    house: House, tmp_path: Path
) -> None:
    there = await filled(house)
    caller = there.caller(there.task_token)
    run = await try_all(
        house.serving.url, caller, tmp_path, depth=DEPTH, share=Share(OF_TASKS)
    )
    await found_nothing(house, run)


if FUZZ:

    async def test_postgresql_answers_as_documented(
        empty_postgres_url: str, tmp_path: Path
    ) -> None:
        async with open_house(settings(tmp_path, empty_postgres_url)) as house:
            caller = (await filled(house)).caller(house.admin.token)
            run = await try_all(house.serving.url, caller, tmp_path, depth=DEEP)
            await found_nothing(house, run)


async def test_every_operation_is_among_them(house: House) -> None:
    document = (await house.http.get("/api/v1/openapi.json")).json()
    tried = operations_of(document)
    left = {
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not method.startswith("x-") and operation["operationId"] not in tried
    }
    # a WebSocket opens with a GET of its own, see test_websocket_fuzz.py
    assert all(
        document["paths"][path][method]["x-websocket"] for method, path in left
    ), left
    assert len(tried) > 100


async def test_a_fault_would_be_found(tmp_path: Path, house: House) -> None:
    """The runs can fail: an answer without its status in the document is told."""
    document = (await house.http.get("/api/v1/openapi.json")).json()
    del document["paths"]["/healthz"]["get"]["responses"]["200"]
    changed = tmp_path / "openapi.json"
    changed.write_bytes(httpx2.Response(200, json=document).content)
    run = await try_all(
        house.serving.url,
        Caller(house.admin.token, "none", "none"),
        tmp_path,
        depth=Depth(more=("--include-path", "/healthz")),
        document=changed,
        share=Share(frozenset()),
    )
    assert run.exit_code == 1
    assert "Undocumented status code" in run.failures
