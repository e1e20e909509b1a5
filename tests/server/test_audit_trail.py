"""Who did what to what on a real server: allowed, denied, and read in the clear."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.routing import Route

from sluice.auth.audit_names import action_of, is_audited
from sluice.auth.guard import permission_of
from sluice.auth.model import WorkspaceLevel
from sluice.auth.permissions import Permission
from sluice.edge.stopping import Stopping
from sluice.server.app import build_app
from sluice.server.concepts import build_concepts
from sluice.server.parts import open_parts
from sluice.server.settings import ServerSettings
from tests.server import audited
from tests.server.audited import Walk, walking


@pytest.fixture
async def walk(settings: ServerSettings) -> AsyncIterator[Walk]:
    async with walking(settings) as walk:
        yield walk


@pytest.mark.parametrize(
    "family",
    [
        audited.people,
        audited.pools_and_scripts,
        audited.workspaces,
        audited.runs,
        audited.judges,
    ],
)
async def test_each_change_and_each_secret_read_is_one_entry(
    walk: Walk, family: Callable[[Walk], Awaitable[None]]
) -> None:
    await family(walk)
    assert walk.driven
    answer = await walk.house.http.get(
        "/api/v1/audit/export",
        headers={"authorization": f"Bearer {walk.house.admin.token}"},
    )
    exported = answer.text
    assert exported.count("\n") > 5
    assert "hunter" not in exported
    assert re.findall(r"sl[a-z]_[\w-]{8,}", exported) == []


async def test_who_began_is_in_the_log(walk: Walk) -> None:
    found = (await walk.house.admin.get("/audit"))["entries"][::-1]
    assert [entry["action"] for entry in found] == [
        "setup_token.redeem",
        "organization.create",
        "pool.create",
        "pool_token.issue",
        "agent.register",
    ]
    assert {entry["actor"] for entry in found[:4]} == {"ann"}
    assert found[4]["actor"].startswith("pool pool-")


async def test_every_audited_route_has_a_noun_and_a_verb(
    settings: ServerSettings,
) -> None:
    parts = open_parts(settings)
    app = build_app(parts, build_concepts(parts), Stopping(lambda: None))
    await parts.close()
    names = {}
    for route in app.router.routes:
        permission = permission_of(route)
        if not isinstance(route, Route) or permission in {None, Permission.PUBLIC}:
            continue
        assert permission is not None
        for method in route.methods or ():
            if is_audited(method, permission):
                names[route.endpoint.__name__] = action_of(route.endpoint.__name__)
    assert len(names) > 80
    odd = {
        name: action
        for name, action in names.items()
        if not re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", action)
        or action.startswith("request.")
    }
    assert odd == {}


# --- denied ------------------------------------------------------------------------


async def test_what_a_member_may_not_do_is_in_the_log(walk: Walk) -> None:
    ws = await walk.house.workspace("w")
    reader, _ = await audited.outsiders(walk)
    await reader.ask("DELETE", f"/workspaces/{ws}", expect=403)
    [entry] = await walk.entries()
    assert (entry["actor"], entry["action"]) == ("reader", "workspace.delete")
    assert (entry["subject"], entry["outcome"]) == (ws, "denied")
    assert entry["detail"]["permission"] == "admin_workspace"
    assert "lacks the permission" in entry["detail"]["reason"]
    acme = await walk.house.admin.get("/organizations/acme")
    assert entry["organization_id"] == acme["id"]
    # what only reads is nobody's business, unless it reads secrets
    await reader.get("/users", expect=403)
    assert await walk.entries() == []
    await reader.get(f"/workspaces/{ws}/state-backend", expect=403)
    [entry] = await walk.entries()
    assert (entry["action"], entry["outcome"]) == ("state.read", "denied")


async def test_what_a_route_refuses_past_its_guard_says_why(walk: Walk) -> None:
    ws = await walk.house.workspace("w")
    planner = await walk.house.member("planner", level=WorkspaceLevel.PLAN)
    await walk.entries()
    wanted = {"task_type": "plan_and_apply"}
    answer = await planner.post(f"/workspaces/{ws}/tasks", wanted, expect=403)
    [entry] = await walk.entries()
    assert (entry["actor"], entry["action"]) == ("planner", "task.create")
    assert (entry["subject"], entry["outcome"]) == (ws, "denied")
    assert entry["detail"]["permission"] == "apply"
    assert entry["detail"]["reason"] == answer["detail"]


async def test_what_is_hidden_is_denied(walk: Walk) -> None:
    ws = await walk.house.workspace("w")
    stranger = await walk.house.member("stranger")
    await walk.entries()
    await stranger.post(f"/workspaces/{ws}/lock", {}, expect=404)
    [entry] = await walk.entries()
    await stranger.get("/state-versions/sv-none/download", expect=404)
    [other] = await walk.entries()
    assert (other["subject"], other["outcome"]) == ("sv-none", "denied")
    assert (entry["actor"], entry["action"]) == ("stranger", "workspace.lock")
    assert (entry["subject"], entry["outcome"]) == (ws, "denied")


async def test_a_flood_of_one_refusal_is_one_entry(walk: Walk) -> None:
    ws = await walk.house.workspace("w")
    reader, _ = await audited.outsiders(walk)
    for _ in range(10):
        await reader.post(f"/workspaces/{ws}/lock", {}, expect=403)
    assert len(await walk.entries()) == 1
    await reader.post(f"/workspaces/{ws}/unlock", {}, expect=403)
    [entry] = await walk.entries()
    assert entry["action"] == "workspace.unlock"


async def test_what_fails_is_no_entry(walk: Walk) -> None:
    admin = walk.house.admin
    await admin.post("/organizations", {"name": "acme"}, expect=409)
    await admin.post("/organizations", {"name": ""}, expect=422)
    await admin.get("/state-versions/sv-none/download", expect=404)
    assert await walk.entries() == []


# --- who reads ------------------------------------------------------------------------


async def test_an_organizations_log_is_for_those_who_may_read_it(walk: Walk) -> None:
    reader, auditor = await audited.outsiders(walk)
    await walk.house.admin.post("/organizations", {"name": "other"}, expect=201)
    for path in ("/audit", "/audit/export"):
        await reader.get(path, expect=403)
        await reader.get(f"{path}?organization_id=acme", expect=403)
        await auditor.get(path, expect=403)
        await auditor.get(f"{path}?organization_id=other", expect=404)
        await auditor.get(f"{path}?organization_id=none", expect=404)
    await auditor.get("/audit/head", expect=403)
    acme = await auditor.get("/organizations/acme")
    shown = await auditor.get("/audit?organization_id=acme")
    assert shown["total"] > 0
    assert {one["organization_id"] for one in shown["entries"]} == {acme["id"]}


async def test_addresses_are_those_that_trusted_proxies_tell(walk: Walk) -> None:
    token = walk.house.admin.token
    answer = await walk.house.http.post(
        "/api/v1/organizations",
        json={"name": "far"},
        headers={
            "authorization": f"Bearer {token}",
            "x-forwarded-for": "203.0.113.7",
            "x-request-id": "req-1",
        },
    )
    assert answer.status_code == 201
    [entry] = await walk.entries()
    assert (entry["address"], entry["request_id"]) == ("203.0.113.7", "req-1")
    found = await walk.house.admin.get("/audit?address=203.0.113.7")
    assert found["total"] == 1


async def test_a_secret_is_not_given_out_unrecorded(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log that cannot be written keeps the answer back."""
    ws = await walk.house.workspace("w")
    task = await walk.house.admin.post(
        f"/workspaces/{ws}/tasks", {"task_type": "plan"}, expect=201
    )
    log = walk.house.serving.concepts.audit.log

    async def away(*_: object) -> None:
        raise OSError("the disk is full")

    path = f"/workspaces/{ws}/tasks/{task['id']}/configuration"
    with monkeypatch.context() as broken:
        broken.setattr(type(log), "append", away)
        said = await walk.house.admin.get(path, expect=503)
    assert "audit log" in said["detail"]
    assert await walk.house.admin.get(path)


async def test_requests_at_once_are_each_one_entry(walk: Walk) -> None:
    async def make(number: int) -> None:
        await walk.house.admin.post("/users", {"name": f"u{number}"}, expect=201)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(make(number))
    found = await walk.entries()
    assert {entry["detail"]["name"] for entry in found} == {f"u{n}" for n in range(20)}
    assert len(found) == 20
