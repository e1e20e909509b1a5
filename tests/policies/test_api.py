"""Policies over HTTP on a real server: kept, tried, and asked at the gate of a task."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.auth.model import OrganizationPermission, WorkspaceLevel
from sluice.server.serving import serving
from sluice.server.settings import ServerSettings
from sluice.wire.events import Stage
from tests.agents.house import Caller, House, open_house
from tests.policies.test_judge import ENDLESS, HEAD, PUBLIC, aws_plan

PLAN_JSON = Path(__file__).parents[1] / "terraform" / "data" / "plan_second.json"
DELETES = (
    HEAD
    + """
deny contains {"msg": sprintf("%s is deleted", [c.address]), "address": c.address} if {
  some c in input.resource_changes
  c.change.actions == ["delete"]
}
"""
)


def settings_of(tmp_path: Path, **fields: Any) -> ServerSettings:
    return ServerSettings(
        data_dir=tmp_path / "server", port=0, shutdown_seconds=2, **fields
    )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(settings_of(tmp_path)) as opened:
        yield opened


def policy(name: str = "public", source: str = PUBLIC, **fields: Any) -> dict[str, Any]:
    return {"name": name, "source": source, "level": "mandatory", **fields}


async def planned(house: House, workspace_id: str, task_type: str = "plan") -> Any:
    """A task whose plan phase is reported, with a plan of real terraform."""
    task = await house.admin.post(
        f"/workspaces/{workspace_id}/tasks", {"task_type": task_type}, expect=201
    )
    job = await house.work()
    await job.started()
    await job.stage(Stage.PLANNING, b"Plan: 1 to add.\n")
    await job.caller.put(f"{job.here}/plan-file", b"PLAN")
    await job.caller.put(f"{job.here}/plan-json", PLAN_JSON.read_bytes())
    await job.finish(has_changes=True)
    return task


async def settled(caller: Caller, task_id: str) -> Any:
    """The task when it stands at no gate any more."""
    limit, task = time.monotonic() + 60, None
    while time.monotonic() < limit:
        task = await caller.get(f"/tasks/{task_id}")
        if task["status"] not in {"pending", "running"}:
            return task
        await asyncio.sleep(0.1)
    raise AssertionError(f"still {task}")


async def test_policies_are_kept_shown_replaced_and_forgotten(house: House) -> None:
    here, admin = "/policies?organization_id=acme", house.admin
    workspace = await house.workspace("prod")
    made = await admin.post(here, policy(description="no public buckets"), expect=201)
    own = await admin.post(
        f"/policies?workspace_id={workspace}",
        policy("own", level="advisory"),
        expect=201,
    )
    assert made["id"].startswith("pol-")
    assert made["workspace_id"] is None
    assert own["workspace_id"] == workspace
    assert own["organization_id"] == made["organization_id"]
    assert await admin.get(f"/policies/{made['id']}") == made
    listed = await admin.get(here)
    assert [one["name"] for one in listed] == ["public"]
    assert "source" not in listed[0]
    holding = await admin.get(f"/policies?workspace_id={workspace}")
    assert [one["name"] for one in holding] == ["public", "own"]
    changed = await admin.ask(
        "PUT", f"/policies/{made['id']}", json=policy("renamed", DELETES, enabled=False)
    )
    assert (changed["name"], changed["enabled"]) == ("renamed", False)
    assert changed["description"] == ""
    assert changed["created_at"] == made["created_at"]
    await admin.ask("DELETE", f"/policies/{made['id']}", expect=204)
    await admin.get(f"/policies/{made['id']}", expect=404)
    await admin.ask("DELETE", f"/policies/{made['id']}", expect=404)
    audit = await admin.get(f"/audit?action=policy&subject={made['id']}")
    assert [
        (entry["action"], entry["actor"], entry["detail"]["name"])
        for entry in audit["entries"]
    ] == [
        ("policy.delete", "ann", "renamed"),
        ("policy.update", "ann", "renamed"),
        ("policy.create", "ann", "public"),
    ]


async def test_what_cannot_be_kept_is_refused_with_words(house: House) -> None:
    here, admin = "/policies?organization_id=acme", house.admin
    await admin.post(here, policy(), expect=201)
    broken = policy("broken", HEAD + "deny contains x if {\n  x := := 1\n}")
    for path, body, status, words in (
        (here, policy(), 409, "has a policy public already"),
        (here, broken, 422, "line 4: Invalid assignment operator"),
        (here, policy("x", HEAD + "allow := true"), 422, "neither a rule"),
        (here, policy("x", source="ü" * 200_000), 422, "262144"),
        (here, policy("x", source="x" * 300_000), 422, "source"),
        (here, policy("a b"), 422, "name"),
        (here, policy("x", level="strict"), 422, "level"),
        ("/policies", policy("x"), 422, "organization_id or workspace_id"),
        ("/policies?organization_id=nowhere", policy("x"), 404, "nowhere"),
        ("/policies?workspace_id=ws-none", policy("x"), 404, "ws-none"),
    ):
        answer = await admin.post(path, body, expect=status)
        assert words in str(answer), (words, answer)
    answer = await admin.post(here, broken, expect=422)
    assert answer["errors"][0]["line"] == "4"
    await admin.get("/policies", expect=422)


async def test_only_keepers_of_policies_change_what_holds_everywhere(
    house: House,
) -> None:
    admin = house.admin
    user = await house.member("bob", level=WorkspaceLevel.ADMIN)
    made = await admin.post("/policies?organization_id=acme", policy(), expect=201)
    await user.get(f"/policies/{made['id']}")
    await user.post("/policies?organization_id=acme", policy("x"), expect=403)
    await user.ask("PUT", f"/policies/{made['id']}", json=policy(), expect=403)
    await user.ask("DELETE", f"/policies/{made['id']}", expect=403)
    workspace = await house.workspace("prod")
    own = await user.post(
        f"/policies?workspace_id={workspace}", policy("own"), expect=201
    )
    await user.ask("DELETE", f"/policies/{own['id']}", expect=204)
    await house.agent.get(f"/policies/{made['id']}", expect=403)
    keeper = await house.member("kim", OrganizationPermission.MANAGE_POLICIES)
    await keeper.ask("PUT", f"/policies/{made['id']}", json=policy())
    # without a level in it the workspace is hidden
    await keeper.get(f"/policies?workspace_id={workspace}", expect=404)


async def test_a_policy_is_tried_without_a_task(house: House) -> None:
    workspace = await house.workspace("prod")
    made = await house.admin.post(
        f"/policies?workspace_id={workspace}", policy(), expect=201
    )
    here = f"/policies/{made['id']}/check"
    said = await house.admin.post(here, {"plan": aws_plan()})
    assert said["status"] == "failed"
    assert said["messages"][0] == {
        "kind": "deny",
        "message": "aws_s3_bucket_acl.site is public in prod",
        "address": "aws_s3_bucket_acl.site",
        "severity": "high",
        "url": "https://example.com/s3",
    }
    assert (await house.admin.post(here, {"plan": {}}))["status"] == "passed"
    other = {"plan": {}, "source": HEAD + 'deny contains "always"'}
    assert (await house.admin.post(here, other))["status"] == "failed"
    for body, status, words in (
        ({}, 422, "either a plan or a task_id"),
        ({"plan": {}, "task_id": "task-1"}, 422, "either a plan or a task_id"),
        ({"task_id": "task-1"}, 404, "task-1"),
        ({"plan": {}, "source": "nothing"}, 422, "package"),
        ({"plan": []}, 422, "plan"),
    ):
        assert words in str(await house.admin.post(here, body, expect=status))


async def test_a_task_is_stopped_by_the_policy_and_says_so(house: House) -> None:
    await house.admin.post(
        "/policies?organization_id=acme", policy("keeps", DELETES), expect=201
    )
    workspace = await house.workspace("prod")
    await house.admin.post(
        f"/policies?workspace_id={workspace}",
        policy("asks", HEAD + 'warn contains "look"'),
        expect=201,
    )
    task = await planned(house, workspace, "plan_and_apply")
    done = await settled(house.admin, task["id"])
    assert done["status"] == "failed"
    assert "stopped by a mandatory policy: keeps: " in done["error"]
    assert "terraform_data.gone is deleted" in done["error"]
    here = f"/workspaces/{workspace}/tasks/{task['id']}/policy-results"
    results = (await house.admin.get(here))["results"]
    assert [(one["name"], one["status"]) for one in results] == [
        ("asks", "passed"),
        ("keeps", "failed"),
    ]
    assert results[1]["messages"][0]["address"] == "terraform_data.gone"
    stages = {one["name"]: one["status"] for one in done["stages"]}
    assert stages["policy_check"] == "failed"
    log = await house.admin.get(f"/tasks/{task['id']}/logs/download")
    assert b"policy keeps (mandatory) failed: terraform_data.gone" in log
    # the same plan, for somebody who writes a policy
    listed = await house.admin.get("/policies?organization_id=acme")
    tried = await house.admin.post(
        f"/policies/{listed[0]['id']}/check", {"task_id": task["id"]}
    )
    assert tried["status"] == "failed"
    other = await house.workspace("other")
    await house.admin.get(
        f"/workspaces/{other}/tasks/{task['id']}/policy-results", expect=404
    )
    foreign = await house.admin.post(
        f"/policies?workspace_id={other}", policy("own"), expect=201
    )
    await house.admin.post(
        f"/policies/{foreign['id']}/check", {"task_id": task["id"]}, expect=404
    )


async def test_a_policy_opens_no_plan_to_who_may_not_read_it(house: House) -> None:
    made = await house.admin.post(
        "/policies?organization_id=acme", policy("keeps", DELETES), expect=201
    )
    task = await planned(house, await house.workspace("prod"))
    await settled(house.admin, task["id"])
    spies = HEAD + 'deny contains sprintf("%v", [input.resource_changes])'
    here = f"/policies/{made['id']}/check"
    asked = {"task_id": task["id"], "source": spies}
    right = OrganizationPermission.MANAGE_POLICIES
    # the workspace is hidden: as if the task were not there
    stranger = await house.member("kim", right)
    hidden = await stranger.post(here, asked, expect=404)
    assert hidden["detail"] == f"There is no task {task['id']}."
    reader = await house.member("rae", right, level=WorkspaceLevel.READ)
    await reader.post(here, asked, expect=403)
    planner = await house.member("pam", right, level=WorkspaceLevel.PLAN)
    said = await planner.post(here, asked)
    assert "terraform_data.gone" in str(said["messages"])


async def test_prices_come_before_policies_and_both_let_pass(house: House) -> None:
    prices = '[[price]]\ntype = "terraform_data"\nmonthly = 2.5\n'
    await house.admin.ask(
        "PUT", "/organizations/acme/price-file", json={"content": prices}
    )
    await house.admin.post(
        "/policies?organization_id=acme",
        policy("keeps", DELETES, level="advisory"),
        expect=201,
    )
    workspace = await house.workspace("prod")
    task = await planned(house, workspace, "plan_and_apply")
    done = await settled(house.admin, task["id"])
    assert done["status"] == "apply_pending"
    stages = [one["name"] for one in done["stages"] if one["completed_at"]]
    assert stages[-2:] == ["cost_estimation", "policy_check"]
    estimate = await house.admin.get(
        f"/workspaces/{workspace}/tasks/{task['id']}/cost-estimate"
    )
    assert estimate["status"] == "passed"
    assert (estimate["prior"], estimate["proposed"]) == ("7.5", "5.0")
    assert estimate["delta"] == "-2.5"
    log = await house.admin.get(f"/tasks/{task['id']}/logs/download")
    first, second = log.index(b"cost estimate: 7.50"), log.index(b"policy keeps")
    assert first < second


async def test_a_server_that_stops_while_it_judges_leaves_it_to_the_next(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, policy_seconds=4)
    # on an empty plan it comes to its end at once
    endless = HEAD + ENDLESS.replace("if {", "if {\n  input.format_version", 1)
    async with open_house(settings) as house:
        await house.admin.post(
            "/policies?organization_id=acme", policy("loops", endless), expect=201
        )
        workspace = await house.workspace("prod")
        task = await planned(house, workspace)
        deps = house.serving.concepts.policies
        limit = time.monotonic() + 60
        attempts = 0
        while not attempts and time.monotonic() < limit:
            await asyncio.sleep(0.05)
            async with deps.transactions.read() as tx:
                found = await deps.evaluations.get(tx, task["id"])
            attempts = found.attempts if found else 0
        shown = await house.admin.get(f"/tasks/{task['id']}")
        assert shown["reason"] == "waits for policies: loops"
        token = house.admin.token
    async with (
        serving(settings) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=40) as http,
    ):
        done = await settled(Caller(http, token), task["id"])
        assert done["status"] == "failed"
        assert "took more than 4 s" in done["error"]
        log = await Caller(http, token).get(f"/tasks/{task['id']}/logs/download")
        assert log.count(b"policy loops (mandatory)") == 1
