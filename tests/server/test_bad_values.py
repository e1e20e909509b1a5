"""Values that parsers and databases stumble over are refused, in every field of every body."""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.server.settings import load_settings
from tests.agents.house import House, Job, open_house

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("quiet")]

Json = dict[str, Any]
# as they stand in JSON, so that what no encoder writes can be sent
BAD = [
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\uffff\ufffe"',
    '""',
    '" "',
    '"%s"' % ("x" * 70_000),
    "9223372036854775808",
    "-9223372036854775809",
    "1" + "0" * 400,
    "1e400",
    "-1",
    "0.5",
    "NaN",
    "Infinity",
    "true",
    "null",
    '"0"',
    '"1e9"',
    "[]",
    "{}",
    '[[["\\u0000"]]]',
    '{"\\u0000": {"\\ud800": 1}}',
    "[" * 300 + "]" * 300,
    '"2026-02-31T00:00:00Z"',
    '"9999-12-31T23:59:59-14:00"',
    '"0001-01-01T00:00:00+14:00"',
]
WHOLE = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"{}}",
    b"\xff\xfe{}",
    b'{"a": \xff}',
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"name": "a", "name": "b"}',
    b"1" * 5_000,
]
SHARE = 1 if os.environ.get("FUZZ") else 7
"""One of so many values is tried in a field; all with `make fuzz`."""
REGO = 'package terraform\n\ndeny contains "no" if false\n'
STARTS = {"string": '"abc"', "integer": "1", "number": "1", "boolean": "true"}


@dataclass(frozen=True)
class There:
    """Things that are there, by the parameters that name them, and who may call."""

    ids: dict[str, str]
    tokens: dict[str, str]
    admin: str


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    url = ""
    if request.param == "postgresql":
        url = str(request.getfixturevalue("empty_postgres_url"))
    given = {
        "data_dir": tmp_path / "server",
        "database_url": url,
        "auto_migrate": True,
        "port": 0,
        "shutdown_seconds": 2,
        "requests_per_minute_per_credential": 0,
        "requests_per_minute_per_address": 0,
        "requests_per_minute_per_organization": 0,
        "failed_credentials_per_minute_per_address": 0,
    }
    async with open_house(load_settings(given)) as opened:
        yield opened


async def furnished(house: House) -> tuple[There, Job]:
    """One of most things, and the token of a task that is worked on."""
    admin = house.admin
    workspace = await house.workspace("web")
    tasks = f"/workspaces/{workspace}/tasks"
    await admin.post(tasks, {"task_type": "plan"}, expect=201)
    job = await house.work()
    user = await admin.post("/users", {"name": "eve"}, expect=201)
    team = await admin.post("/organizations/acme/teams", {"name": "ops"}, expect=201)
    pool = await admin.post("/organizations/acme/pools", {"name": "p2"}, expect=201)
    script = await admin.post(
        "/organizations/acme/scripts",
        {"key": "hello", "body": "#!/bin/sh\n"},
        expect=201,
    )
    variable = await admin.post(
        f"/workspaces/{workspace}/variables", {"key": "a", "value": "b"}, expect=201
    )
    policy = await admin.post(
        f"/policies?workspace_id={workspace}",
        {"name": "p", "source": REGO, "level": "advisory"},
        expect=201,
    )
    ids = {
        "workspace_id": workspace,
        "task_id": job.order["task_id"],
        "user_id": user["id"],
        "team_id": team["id"],
        "pool_id": pool["id"],
        "script_id": script["id"],
        "variable_id": variable["id"],
        "policy_id": policy["id"],
        "agent_id": house.agent_id,
        "organization": "acme",
        "id_or_name": "acme",
    }
    tokens = {
        "work": house.agent.token,
        "register_agent": house.pool_token,
        "task_data": job.caller.token,
        "write_records": job.caller.token,
    }
    return There(ids, tokens, admin.token), job


def operations(document: Json) -> Iterator[tuple[str, str, Json, Json]]:
    """Method, path, operation and schema of each that takes JSON."""
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method.startswith("x-") or "requestBody" not in operation:
                continue
            schema = operation["requestBody"]["content"].get("application/json", {})
            name = str(schema.get("schema", {}).get("$ref", "")).rpartition("/")[2]
            if name:
                yield method, path, operation, schemas[name]


def bodies(schema: Json, turn: int) -> Iterator[bytes]:
    """A body a bad value: each field in turn, the others as they may be.

    Every field gets a share of the values, and each value comes to fields of all kinds.
    """
    fields: Json = schema.get("properties", {})
    needed = {
        name: STARTS.get(str(fields[name].get("type")), '"abc"')
        for name in schema.get("required", ())
    }
    for place, name in enumerate(fields, turn):
        for bad in BAD[place % SHARE :: SHARE]:
            given = {**needed, name: bad}
            inside = ", ".join(f"{json.dumps(key)}: {given[key]}" for key in given)
            yield f"{{{inside}}}".encode()
    yield from WHOLE[turn % SHARE :: SHARE]


async def test_no_bad_value_is_a_fault_of_the_server(house: House) -> None:
    there, _ = await furnished(house)
    document = (await house.http.get("/api/v1/openapi.json")).json()
    sent, found = 0, []
    for turn, (method, path, operation, schema) in enumerate(operations(document)):
        where = re.sub(r"\{(\w+)\}", lambda m: there.ids.get(m[1], "x-1"), path)
        if "?" not in where and path == "/api/v1/policies":
            where += f"?workspace_id={there.ids['workspace_id']}"
        permission = operation.get("x-permission", "public")
        token = there.tokens.get(permission, there.admin)
        for body in bodies(schema, turn):
            answer = await house.http.request(
                method.upper(),
                where,
                content=body,
                headers={
                    "authorization": f"Bearer {token}",
                    "content-type": "application/json",
                },
            )
            sent += 1
            if not is_right(answer, operation):
                said = f"{answer.status_code} {answer.text[:300]}"
                found.append(f"{method} {where} {body[:150]!r}: {said}")
    assert found == []
    assert sent > 500


def is_right(answer: httpx2.Response, operation: Json) -> bool:
    """It is an answer that the document knows, and a problem where it is a refusal."""
    status, kind = answer.status_code, answer.headers.get("content-type", "")
    if status >= 500 or str(status) not in operation["responses"]:
        return False
    if status < 400:
        return True
    return kind == "application/problem+json" and len(answer.content) < 100_000
