"""What a route's permission alone does not say: kinds of tasks, locks, lists, second names."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sluice.auth.model import OrganizationPermission, Role, Scope, WorkspaceLevel
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.server.settings import ServerSettings
from tests.agents.house import Caller, House, open_house
from tests.support.who import People

PLAN, APPLY, ADMIN = (
    WorkspaceLevel.PLAN,
    WorkspaceLevel.APPLY,
    WorkspaceLevel.ADMIN,
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = ServerSettings(data_dir=tmp_path, port=0, shutdown_seconds=2)
    async with open_house(settings) as opened:
        yield opened


def people_of(house: House) -> People:
    auth = house.serving.concepts.auth
    return People(auth.transactions, auth.store)


async def acme(house: House) -> OrganizationId:
    return OrganizationId((await house.admin.get("/organizations/acme"))["id"])


async def test_who_may_plan_starts_and_stops_nothing_that_applies(house: House) -> None:
    workspace = await house.workspace("prod", auto_apply=True)
    here = f"/workspaces/{workspace}/tasks"
    planner, applier = (
        await house.member("pia", level=PLAN),
        await house.member("abe", level=APPLY),
    )
    for kind in ("plan_and_apply", "apply"):
        body = {"task_type": kind, "plan_task_id": "task-x"}
        refused = await planner.post(here, body, expect=403)
        assert "`apply`" in refused["detail"]
    plan = await planner.post(here, {"task_type": "plan"}, expect=201)
    assert plan["auto_apply"] is False
    await planner.post(f"/tasks/{plan['id']}/cancel")
    change = await applier.post(here, {"task_type": "plan_and_apply"}, expect=201)
    for verb in ("cancel", "discard", "confirm", "force-cancel"):
        await planner.post(f"/tasks/{change['id']}/{verb}", expect=403)
    await applier.post(f"/tasks/{change['id']}/cancel")


async def test_who_sees_a_locks_id_does_not_free_it(house: House) -> None:
    workspace = await house.workspace("prod")
    here = f"/workspaces/{workspace}/state-backend"
    pia, pit = (
        await house.member("pia", level=PLAN),
        await house.member("pit", level=PLAN),
    )
    lock = {"ID": "lock-1", "Operation": "OperationTypePlan", "Who": "pia@desk"}
    await pia.ask("LOCK", here, json=lock)
    shown = await pit.get(f"/workspaces/{workspace}")
    assert shown["lock"]["id"] == "lock-1"
    held = await pit.ask("UNLOCK", here, json=lock, expect=423)
    assert held["ID"] == "lock-1"
    await pit.ask("UNLOCK", here, expect=403)
    await pit.post(f"/workspaces/{workspace}/force-unlock", {}, expect=403)
    await pia.ask("UNLOCK", here, json=lock)
    await pia.ask("LOCK", here, json=lock)
    keeper = await house.member("kim", level=ADMIN)
    await keeper.ask("UNLOCK", here)
    assert (await pit.get(f"/workspaces/{workspace}"))["lock"] is None


async def test_lists_show_and_count_what_may_be_read(house: House) -> None:
    people, owner = people_of(house), await acme(house)
    open_one, closed = await house.workspace("open"), await house.workspace("closed")
    for workspace in (open_one, open_one, closed):
        await house.admin.post(
            f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
        )
    pool = Caller(house.http, house.pool_token)
    await pool.post("/tasks/script-1/exec", {"run_id": "run-1"})
    bob = await people.user("bob")
    await people.member(owner, bob)
    await people.grant(owner, WorkspaceId(open_one), PLAN, user_id=bob)
    caller = Caller(house.http, await people.token(bob))

    async def seen(path: str, who: Caller = caller) -> tuple[set[str], int]:
        found = await who.get(f"/organizations/acme/{path}")
        rows = found.get("workspaces") or found.get("tasks") or []
        names = {row.get("name") or row["workspace_id"] or "" for row in rows}
        return names, found["total"]

    assert await seen("workspaces") == ({"open"}, 1)
    assert await seen("workspaces?name=closed") == (set(), 0)
    assert await seen("tasks") == ({open_one, ""}, 3)
    assert await seen("tasks?limit=1") == ({""}, 3)
    assert await seen("workspaces", house.admin) == ({"open", "closed"}, 2)
    assert await seen("tasks", house.admin) == ({open_one, closed, ""}, 4)
    scope = Scope(workspace_ids=frozenset({WorkspaceId(closed)}))
    narrow = Caller(house.http, await people.token(bob, scope))
    assert await seen("workspaces", narrow) == (set(), 0)
    assert [one["name"] for one in await caller.get("/organizations")] == ["acme"]


async def test_the_only_organization_is_that_of_the_caller(house: House) -> None:
    """Who names none means theirs, however many there are beside."""
    people, owner = people_of(house), await acme(house)
    globex = await people.organization("globex")
    member = await house.member("bob", OrganizationPermission.RUN_SCRIPTS)
    await member.get("/run-tasks")
    run = await member.post("/tasks/of-bob/exec", {"run_id": "run-1"})
    task = await member.get(f"/tasks/{run['task_id']}")
    assert task["organization_id"] == owner
    rex = await people.user("rex")
    await people.member(globex, rex, Role.OWNER)
    stranger = Caller(house.http, await people.token(rex))
    assert (await stranger.get("/run-tasks"))["run_tasks"] == []
    hidden = await stranger.post("/tasks/of-bob/exec", {"run_id": "run-2"}, expect=404)
    assert hidden["detail"] == "There is no task of-bob."
    begun = await stranger.post("/tasks/of-rex/exec", {"run_id": "run-1"})
    assert begun["task_id"] == "of-rex"
    # beside the administrator's organizations there are several
    await house.admin.get("/run-tasks", expect=422)


async def test_bodies_name_no_things_of_other_organizations(house: House) -> None:
    """The answers are those to what is not there, but for the name that was given."""
    people, admin = people_of(house), house.admin
    globex = await people.organization("globex")
    rex = await people.user("rex")
    await people.member(globex, rex, Role.OWNER)
    theirs = Caller(house.http, await people.token(rex))
    pool = (await admin.get("/organizations/acme/pools"))[0]["id"]
    prod = await house.workspace("prod")
    task = await admin.post(
        f"/workspaces/{prod}/tasks", {"task_type": "plan"}, expect=201
    )
    checks = await admin.post(
        "/run-tasks",
        {
            "organization_id": "acme",
            "name": "checks",
            "endpoint_url": "https://checks.example.com/x",
        },
        expect=201,
    )
    own = await theirs.post(
        "/organizations/globex/workspaces", {"name": "own"}, expect=201
    )
    here = f"/workspaces/{own['id']}"
    script = {"key": "s", "body": "#!/bin/sh\n"}

    async def alike(method: str, path: str, value: str, **body: Any) -> None:
        said = []
        for given in (value, f"{value}x"):
            filled = {name: given if it is ... else it for name, it in body.items()}
            answer = await house.http.request(
                method,
                path.replace("…", given),
                json=filled,
                headers={"authorization": f"Bearer {theirs.token}"},
            )
            said.append((answer.status_code, answer.text.replace(given, "…")))
        assert said[0] == said[1]
        assert said[0][0] in {404, 422}, said[0]

    api = "/api/v1"
    await alike(
        "POST", f"{api}/organizations/globex/workspaces", pool, name="x", pool_id=...
    )
    await alike("PATCH", f"{api}{here}", pool, pool_id=...)
    await alike(
        "POST", f"{api}/organizations/globex/scripts", pool, **script, pool_id=...
    )
    await alike(
        "POST",
        f"{api}{here}/tasks",
        task["configuration_version_id"],
        task_type="plan",
        configuration_version_id=...,
    )
    await alike(
        "POST", f"{api}{here}/tasks", task["id"], task_type="apply", plan_task_id=...
    )
    await alike(
        "POST",
        f"{api}{here}/run-tasks",
        checks["run_task_id"],
        run_task_id=...,
        stage="post_plan",
        enforcement_level="advisory",
    )
    for named in ("acme", await acme(house)):
        await alike(
            "POST",
            f"{api}/run-tasks",
            named,
            organization_id=...,
            name="x",
            endpoint_url="https://checks.example.com/x",
        )
        await alike("POST", "/v1/soft/install", named, key="s", organization=...)
        await alike("GET", f"{api}/run-tasks?organization_id=…", named)
        await alike("GET", f"{api}/policies?organization_id=…", named)
        await alike("GET", f"{api}/audit?organization_id=…", named)
        await alike(
            "POST", f"{api}/tasks/new-one/exec?organization=…", named, run_id="r"
        )
    await alike("GET", f"{api}/policies?workspace_id=…", prod)
    await alike("GET", "/v1/log/history?task_id=…", task["id"])
    await alike("GET", "/v1/soft/getlog?fn=…", task["id"])
