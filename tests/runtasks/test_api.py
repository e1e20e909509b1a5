"""The routes of run tasks and attachments, against a real server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice import __version__
from sluice.runtasks.sealing import key_of
from sluice.wire.run_task import verify, verify_webhook
from tests.runtasks.answering import Service, answering
from tests.scripts.site import Site, open_site

Json = dict[str, Any]
RUN_TASKS = "/api/v1/run-tasks"
NOBODY = "rt-1111111111111111"
KEY = "a-key-of-the-service"
FULL: Json = {
    "name": "full_scan-1",
    "description": "scans ü\nall",
    "endpoint_url": "https://scan.example.com/hook?failOn=low",
    "hmac_key": KEY,
    "signature_prefix": True,
    "enabled": False,
    "timeout_seconds": 60,
    "is_global": True,
    "global_stages": ["post_apply", "pre_plan", "pre_plan"],
    "global_level": "mandatory",
    "callback_allowed_cidrs": ["203.0.113.7/24", "2001:db8::1"],
    "team_id": "team-1",
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(
        tmp_path, outgoing_allowed_cidrs=["127.0.0.0/8"], outgoing_allow_http=True
    ) as opened:
        yield opened


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with answering() as opened:
        yield opened


async def ask(
    client: httpx2.AsyncClient, method: str, path: str, status: int, body: Any = None
) -> Any:
    given = {} if body is None else {"json": body}
    answer = await client.request(method, path, **given)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def make(site: Site, name: str = "scan", **fields: Any) -> Json:
    body = {"name": name, "endpoint_url": "https://scan.example.com/", **fields}
    return dict(await ask(site.admin, "POST", RUN_TASKS, 201, body))


async def workspace(site: Site, name: str, organization: str = "default") -> str:
    path = f"/api/v1/organizations/{organization}/workspaces"
    maker = site.user if organization == "default" else site.admin
    return str((await ask(maker, "POST", path, 201, {"name": name}))["id"])


async def attach(site: Site, workspace_id: str, made: Json, **fields: Any) -> Json:
    body = {"run_task_id": made["run_task_id"], "stage": "post_plan", **fields}
    return dict(await ask(site.user, "POST", attached(workspace_id), 201, body))


def attached(workspace_id: str) -> str:
    return f"/api/v1/workspaces/{workspace_id}/run-tasks"


def one(made: Json) -> str:
    return f"{RUN_TASKS}/{made['run_task_id']}"


async def audited(site: Site, prefix: str) -> list[Json]:
    """What the audit log has of such actions, the first first."""
    found = await ask(
        site.admin,
        "GET",
        f"/api/v1/audit?action={prefix}&outcome=allowed&limit=100",
        200,
    )
    for entry in found["entries"]:
        # the way in, which is the same for all that people do
        assert entry["detail"].pop("route").partition(" ")[2].startswith("/api/v1/")
        assert entry["detail"].pop("credential_id")
    return list(reversed(found["entries"]))


# --- definitions -----------------------------------------------------------------


async def test_a_run_task_is_made_with_all_its_fields(site: Site) -> None:
    made = await make(site, **FULL)
    assert made == {
        **{name: value for name, value in FULL.items() if name != "hmac_key"},
        "run_task_id": made["run_task_id"],
        "organization_id": made["organization_id"],
        "hmac_key_set": True,
        "global_stages": ["pre_plan", "post_apply"],
        "callback_allowed_cidrs": ["203.0.113.0/24", "2001:db8::1/128"],
        "created_by": "ada",
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert made["run_task_id"].startswith("rt-")
    assert await ask(site.user, "GET", one(made), 200) == made


async def test_what_is_not_given_has_its_default(site: Site) -> None:
    made = await make(site)
    kept = {
        "description": "",
        "hmac_key_set": False,
        "signature_prefix": False,
        "enabled": True,
        "timeout_seconds": 600,
        "is_global": False,
        "global_stages": [],
        "global_level": "advisory",
        "callback_allowed_cidrs": [],
        "team_id": None,
    }
    assert {name: made[name] for name in kept} == kept


async def test_a_list_has_pages_and_counts_workspaces(site: Site) -> None:
    empty = await ask(site.user, "GET", RUN_TASKS, 200)
    assert empty == {
        "run_tasks": [],
        "pagination": {"page": 1, "page_size": 20, "total": 0},
    }
    made = [await make(site, name) for name in ("charlie", "alpha", "bravo")]
    for name in ("one", "two"):
        workspace_id = await workspace(site, name)
        for stage in ("pre_plan", "post_plan"):
            await attach(site, workspace_id, made[1], stage=stage)
    listed = await ask(site.user, "GET", f"{RUN_TASKS}?page=1&page_size=2", 200)
    assert listed["run_tasks"] == [
        {**made[1], "workspace_count": 2},
        {**made[2], "workspace_count": 0},
    ]
    assert listed["pagination"] == {"page": 1, "page_size": 2, "total": 3}
    rest = await ask(site.user, "GET", f"{RUN_TASKS}?page=2&page_size=2", 200)
    assert [row["name"] for row in rest["run_tasks"]] == ["charlie"]
    beyond = await ask(site.user, "GET", f"{RUN_TASKS}?page=9&page_size=2", 200)
    assert (beyond["run_tasks"], beyond["pagination"]["total"]) == ([], 3)


async def test_each_organization_has_its_own(site: Site) -> None:
    first = await make(site)
    body = {"name": "other"}
    other = await ask(site.admin, "POST", "/api/v1/organizations", 201, body)
    refused = await ask(site.admin, "GET", RUN_TASKS, 422)
    assert "default, other" in refused["detail"]
    # for who is in one of them alone there is no other
    [row] = (await ask(site.user, "GET", RUN_TASKS, 200))["run_tasks"]
    assert row["run_task_id"] == first["run_task_id"]
    await ask(site.admin, "POST", RUN_TASKS, 422, {**FULL, "name": "x"})
    for named in (other["id"], "other"):
        path = f"{RUN_TASKS}?organization_id={named}"
        assert (await ask(site.admin, "GET", path, 200))["run_tasks"] == []
        await ask(site.user, "GET", path, 404)
    second = await make(site, organization_id="other")
    assert second["organization_id"] == other["id"]
    path = f"{RUN_TASKS}?organization_id={first['organization_id']}"
    [row] = (await ask(site.user, "GET", path, 200))["run_tasks"]
    assert row["run_task_id"] == first["run_task_id"]


async def test_a_change_keeps_what_it_does_not_name(site: Site) -> None:
    made = await make(site, **FULL)
    assert await ask(site.admin, "PUT", one(made), 200, {}) == made
    changed = await ask(site.admin, "PUT", one(made), 200, {"enabled": True})
    assert changed == {**made, "enabled": True, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    body = {
        "name": "renamed",
        "endpoint_url": "https://other.example.com",
        "global_stages": ["pre_apply"],
        "global_level": "advisory",
        "timeout_seconds": 3600,
        "signature_prefix": False,
        "callback_allowed_cidrs": [],
        "description": "",
        "team_id": None,
    }
    changed = await ask(site.admin, "PUT", one(made), 200, body)
    assert {name: changed[name] for name in body} == body
    assert changed["hmac_key_set"] is True
    assert changed["is_global"] is True
    body = {"is_global": False, "global_stages": []}
    changed = await ask(site.admin, "PUT", one(made), 200, body)
    assert (changed["is_global"], changed["global_stages"]) == (False, [])


async def test_a_key_is_kept_replaced_and_taken_away_and_never_shown(
    site: Site,
) -> None:
    async def key() -> str:
        deps = site.serving.concepts.run_tasks
        async with deps.transactions.read() as tx:
            stored = await deps.store.get(tx, made["run_task_id"])
        assert stored is not None
        assert KEY.encode() not in (stored.sealed_key or b"")
        return key_of(deps.keyring, stored)

    made = await make(site, hmac_key=KEY)
    said = [made]
    assert await key() == KEY
    for body, expected in (
        ({"description": "x"}, KEY),
        ({"hmac_key": None, "description": "y"}, KEY),
        ({"hmac_key": "another"}, "another"),
        ({"hmac_key": ""}, ""),
        ({"hmac_key": KEY}, KEY),
    ):
        said.append(await ask(site.admin, "PUT", one(made), 200, body))
        assert said[-1]["hmac_key_set"] is bool(expected)
        assert await key() == expected
    said.append(await ask(site.admin, "GET", RUN_TASKS, 200))
    said += await audited(site, "run_task.")
    assert KEY not in json.dumps(said)
    assert "another" not in json.dumps(said)


async def test_a_run_task_that_is_attached_is_deleted_by_force_alone(
    site: Site,
) -> None:
    made, other = await make(site), await make(site, "other")
    workspaces = [await workspace(site, name) for name in ("net", "app")]
    for workspace_id in workspaces:
        await attach(site, workspace_id, made)
        await attach(site, workspace_id, made, stage="pre_plan")
        await attach(site, workspace_id, other)
    refused = await ask(site.admin, "DELETE", one(made), 409)
    assert "attached to app, net;" in refused["detail"]
    assert "force=true" in refused["detail"]
    assert [row["name"] for row in refused["workspaces"]] == ["app", "net"]
    assert await ask(site.admin, "DELETE", f"{one(made)}?force=true", 204) is None
    await ask(site.admin, "GET", one(made), 404)
    left = await ask(site.user, "GET", attached(workspaces[0]), 200)
    assert [row["run_task"]["name"] for row in left["workspace_run_tasks"]] == ["other"]
    free = await make(site, "free")
    await ask(site.admin, "DELETE", one(free), 204)
    # its name is free again
    await make(site, "scan")


# --- the verification call -----------------------------------------------------------


async def test_a_verification_call_is_signed_and_filled(
    site: Site, service: Service
) -> None:
    made = await make(site, endpoint_url=f"{service.url}/hook?failOn=low", hmac_key=KEY)
    tested = await ask(site.admin, "POST", f"{one(made)}/test", 200)
    assert tested == {
        "status_code": 200,
        "ok": True,
        "message": "The service took the verification call.",
    }
    [asked] = service.asked
    assert asked.path == "/hook?failOn=low"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"] == f"IaC-Platform/1.0 (sluice {__version__})"
    signature = asked.headers["x-tfc-task-signature"]
    assert not signature.startswith("sha512=")
    assert verify(KEY, asked.body, signature)
    assert verify_webhook(
        KEY,
        asked.headers["webhook-id"],
        int(asked.headers["webhook-timestamp"]),
        asked.body,
        asked.headers["webhook-signature"],
    )
    payload = json.loads(asked.body)
    assert payload["access_token"] == "test-token"
    assert payload["stage"] == payload["task_result_enforcement_level"] == "test"
    assert [name for name, value in payload.items() if value in (None, "")] == []
    assert payload["plan_json_api_url"].startswith(f"{site.url}/api/v1/")


async def test_a_prefixed_signature_and_none(site: Site, service: Service) -> None:
    made = await make(
        site, endpoint_url=service.url, hmac_key=KEY, signature_prefix=True
    )
    await ask(site.admin, "POST", f"{one(made)}/test", 200)
    await ask(site.admin, "PUT", one(made), 200, {"hmac_key": ""})
    await ask(site.admin, "POST", f"{one(made)}/test", 200)
    prefixed, unsigned = (asked.headers for asked in service.asked)
    assert prefixed["x-tfc-task-signature"].startswith("sha512=")
    assert unsigned["x-tfc-task-signature"] == ""
    assert "webhook-signature" not in unsigned


async def test_only_200_is_ok(site: Site, service: Service) -> None:
    made = await make(site, endpoint_url=service.url)
    answers = {
        201: "wants 200",
        202: "wants 200",
        204: "wants 200",
        302: "redirects are not followed",
        401: "HMAC key",
        403: "HMAC key",
        404: "answered 404",
        500: "answered 500",
    }
    for status, words in answers.items():
        service.answer = status
        tested = await ask(site.admin, "POST", f"{one(made)}/test", 200)
        assert (tested["status_code"], tested["ok"]) == (status, False)
        assert words in tested["message"]
        assert "secret" not in json.dumps(tested)
    assert len(service.asked) == len(answers)


async def test_a_service_that_is_not_there_is_a_problem_that_says_why(
    site: Site, service: Service
) -> None:
    made = await make(site, endpoint_url=service.url)
    service.answer = b"nonsense with a secret\r\n\r\n"
    problem = await ask(site.admin, "POST", f"{one(made)}/test", 502)
    assert problem["code"] == "outgoing_failed"
    assert "secret" not in json.dumps(problem)
    body = {"endpoint_url": "http://127.0.0.1:1/"}
    await ask(site.admin, "PUT", one(made), 200, body)
    problem = await ask(site.admin, "POST", f"{one(made)}/test", 502)
    assert "127.0.0.1:1" in problem["detail"]
    body = {"endpoint_url": "http://localhost.:1/"}
    await ask(site.admin, "PUT", one(made), 200, body)
    await ask(site.admin, "POST", f"{one(made)}/test", 502)
    assert [entry["detail"] for entry in await audited(site, "run_task.test")] == [
        {"name": "scan", "error": "outgoing_failed"}
    ] * 3


async def test_an_address_that_is_not_open_is_never_called(
    tmp_path: Path, service: Service
) -> None:
    async with open_site(tmp_path, outgoing_allow_http=True) as site:
        url = service.url.replace("127.0.0.1", "localhost")
        made = await make(site, endpoint_url=url)
        problem = await ask(site.admin, "POST", f"{one(made)}/test", 422)
    assert problem["code"] == "address_refused"
    assert "127.0.0.1" in problem["detail"] or "::1" in problem["detail"]
    assert service.asked == []


# --- attachments -------------------------------------------------------------------


async def test_a_run_task_is_attached_listed_changed_and_detached(site: Site) -> None:
    scan = await make(site, description="scans")
    cost = await make(site, "cost")
    workspace_id = await workspace(site, "net")
    plain = await attach(site, workspace_id, scan)
    assert plain == {
        "workspace_run_task_id": plain["workspace_run_task_id"],
        "workspace_id": workspace_id,
        "run_task": {
            "run_task_id": scan["run_task_id"],
            "name": "scan",
            "description": "scans",
        },
        "stage": "post_plan",
        "enforcement_level": "advisory",
        "enabled": True,
        "created_at": plain["created_at"],
    }
    assert plain["workspace_run_task_id"].startswith("wrt-")
    strict = await attach(
        *(site, workspace_id, scan),
        stage="pre_plan",
        enforcement_level="mandatory",
        enabled=False,
    )
    assert (strict["enforcement_level"], strict["enabled"]) == ("mandatory", False)
    other = await attach(site, workspace_id, cost, stage="post_apply")
    listed = await ask(site.user, "GET", attached(workspace_id), 200)
    assert listed == {
        "workspace_run_tasks": [other, strict, plain],
        "pagination": {"page": 1, "page_size": 100, "total": 3},
    }
    path = f"{attached(workspace_id)}?page=2&page_size=2"
    rest = await ask(site.user, "GET", path, 200)
    assert rest == {
        "workspace_run_tasks": [plain],
        "pagination": {"page": 2, "page_size": 2, "total": 3},
    }
    path = f"{attached(workspace_id)}/{plain['workspace_run_task_id']}"
    assert await ask(site.user, "PUT", path, 200, {}) == plain
    body = {"stage": "pre_apply", "enforcement_level": "mandatory", "enabled": False}
    assert await ask(site.user, "PUT", path, 200, body) == {**plain, **body}
    await ask(site.user, "DELETE", path, 204)
    await ask(site.user, "DELETE", path, 404)
    left = await ask(site.user, "GET", attached(workspace_id), 200)
    assert left["workspace_run_tasks"] == [other, strict]


async def test_after_the_apply_nothing_is_mandatory(site: Site) -> None:
    made, workspace_id = await make(site), await workspace(site, "net")
    body = {
        "run_task_id": made["run_task_id"],
        "stage": "post_apply",
        "enforcement_level": "mandatory",
    }
    refused = await ask(site.user, "POST", attached(workspace_id), 422, body)
    assert "post_apply is advisory only" in refused["detail"]
    advisory = await attach(site, workspace_id, made, stage="post_apply")
    path = f"{attached(workspace_id)}/{advisory['workspace_run_task_id']}"
    level = {"enforcement_level": "mandatory"}
    refused = await ask(site.user, "PUT", path, 422, level)
    assert "post_apply is advisory only" in refused["detail"]
    await ask(site.user, "PUT", path, 200, {**level, "stage": "pre_apply"})
    refused = await ask(site.user, "PUT", path, 422, {"stage": "post_apply"})
    assert "post_apply is advisory only" in refused["detail"]


async def test_a_workspace_goes_with_its_attachments(site: Site) -> None:
    made, workspace_id = await make(site), await workspace(site, "net")
    await attach(site, workspace_id, made)
    await ask(site.user, "DELETE", f"/api/v1/workspaces/{workspace_id}", 204)
    [row] = (await ask(site.user, "GET", RUN_TASKS, 200))["run_tasks"]
    assert row["workspace_count"] == 0
    await ask(site.admin, "DELETE", one(made), 204)


# --- who did what -------------------------------------------------------------------


async def test_every_change_is_audited(site: Site, service: Service) -> None:
    made = await make(site, endpoint_url=service.url, hmac_key=KEY)
    run_task_id, workspace_id = made["run_task_id"], await workspace(site, "net")
    body = {"description": "x", "hmac_key": "another", "enabled": True}
    await ask(site.admin, "PUT", one(made), 200, body)
    await ask(site.admin, "PUT", one(made), 200, {"enabled": True})
    await ask(site.admin, "POST", f"{one(made)}/test", 200)
    on = await attach(site, workspace_id, made)
    attachment_id = on["workspace_run_task_id"]
    path = f"{attached(workspace_id)}/{attachment_id}"
    await ask(site.user, "PUT", path, 200, {"enabled": False})
    await ask(site.user, "PUT", path, 200, {"enabled": False})
    await ask(site.user, "DELETE", path, 204)
    await attach(site, workspace_id, made)
    await ask(site.admin, "DELETE", f"{one(made)}?force=true", 204)

    said = [*await audited(site, "run_task."), *await audited(site, "workspace_run")]
    assert {entry["organization_id"] for entry in said} == {made["organization_id"]}
    kept = [
        (entry["action"], entry["actor"], entry["subject"], entry["detail"])
        for entry in said
    ]
    where = {"workspace_id": workspace_id, "run_task_id": run_task_id, "name": "scan"}
    how = {"stage": "post_plan", "enforcement_level": "advisory"}
    changed = "description, hmac_key"
    assert kept[:5] == [
        ("run_task.create", "ada", run_task_id, {"name": "scan"}),
        ("run_task.update", "ada", run_task_id, {"name": "scan", "changed": changed}),
        # asked for, and nothing was another than before
        ("run_task.update", "ada", run_task_id, {}),
        ("run_task.test", "ada", run_task_id, {"name": "scan", "status_code": "200"}),
        (
            "run_task.delete",
            "ada",
            run_task_id,
            {"name": "scan", "detached_from": "net"},
        ),
    ]
    prefix = "workspace_run_task"
    assert kept[5:9] == [
        (f"{prefix}.create", "bob", attachment_id, {**where, **how}),
        (
            f"{prefix}.update",
            "bob",
            attachment_id,
            {**where, **how, "changed": "enabled"},
        ),
        (f"{prefix}.update", "bob", attachment_id, {"workspace_id": workspace_id}),
        (f"{prefix}.delete", "bob", attachment_id, {**where, "stage": "post_plan"}),
    ]
    assert [entry[0] for entry in kept[9:]] == [f"{prefix}.create"]
    assert KEY not in json.dumps(said)


# --- refusals -------------------------------------------------------------------------


REFUSED: list[tuple[Json, str]] = [
    ({"name": ""}, "name"),
    ({"name": "two words"}, "name"),
    ({"name": "dotted.name"}, "name"),
    ({"name": "x" * 91}, "name"),
    ({"name": "new\n"}, "name"),
    ({"endpoint_url": ""}, "endpoint_url"),
    ({"endpoint_url": "ftp://scan.example.com"}, "endpoint_url"),
    ({"endpoint_url": "https://ann:pw@scan.example.com"}, "endpoint_url"),
    ({"endpoint_url": "https://scan.example.com/#top"}, "endpoint_url"),
    ({"endpoint_url": "https://x.example.com/" + "x" * 500}, "endpoint_url"),
    ({"endpoint_url": "scan"}, "endpoint_url"),
    ({"description": "x" * 1001}, "description"),
    ({"description": "\x00"}, "description"),
    ({"hmac_key": "x" * 1001}, "hmac_key"),
    ({"timeout_seconds": 59}, "timeout_seconds"),
    ({"timeout_seconds": 3601}, "timeout_seconds"),
    ({"timeout_seconds": "soon"}, "timeout_seconds"),
    ({"is_global": True}, "global_stages"),
    ({"global_stages": ["cost_estimation"]}, "global_stages"),
    ({"global_level": "hard"}, "global_level"),
    ({"callback_allowed_cidrs": ["everywhere"]}, "callback_allowed_cidrs"),
    ({"callback_allowed_cidrs": ["10.0.0.0/8"] * 101}, "callback_allowed_cidrs"),
    ({"team_id": ""}, "team_id"),
    ({"colour": "red"}, "colour"),
]


async def test_what_cannot_be_taken_is_named(site: Site) -> None:
    kept = await make(site, "kept")
    for fields, words in REFUSED:
        body = {"name": "new", "endpoint_url": "https://scan.example.com", **fields}
        for refused in (
            await ask(site.admin, "POST", RUN_TASKS, 422, body),
            await ask(site.admin, "PUT", one(kept), 422, fields),
        ):
            assert words in json.dumps(refused)
            # of a key nothing comes back, whatever is wrong with it
            assert str(fields.get("hmac_key", "\0")) not in json.dumps(refused)
    assert await ask(site.admin, "GET", one(kept), 200) == kept
    listed = await ask(site.admin, "GET", RUN_TASKS, 200)
    assert [row["name"] for row in listed["run_tasks"]] == ["kept"]


async def test_errors_of_definitions(site: Site) -> None:
    made, other = await make(site), await make(site, "other")
    taken = await ask(
        *(site.admin, "POST", RUN_TASKS, 409),
        {"name": "scan", "endpoint_url": "https://x.example.com"},
    )
    assert "'scan' already" in taken["detail"]
    await ask(site.admin, "PUT", one(other), 409, {"name": "scan"})
    body = {"name": "x", "endpoint_url": "https://x.example.com"}
    for name in ("none", "org-1111111111111111"):
        given = {**body, "organization_id": name}
        await ask(site.admin, "POST", RUN_TASKS, 404, given)
        await ask(site.user, "GET", f"{RUN_TASKS}?organization_id={name}", 404)
    await ask(site.admin, "POST", RUN_TASKS, 422, {"name": "x"})
    await ask(site.admin, "POST", RUN_TASKS, 422, [])
    for query in (
        "page=0",
        "page=x",
        "page_size=0",
        "page_size=101",
        "page=99999999999",
    ):
        await ask(site.user, "GET", f"{RUN_TASKS}?{query}", 422)
    nobody = f"{RUN_TASKS}/{NOBODY}"
    await ask(site.user, "GET", nobody, 404)
    await ask(site.admin, "PUT", nobody, 404, {"name": "x"})
    await ask(site.admin, "DELETE", nobody, 404)
    await ask(site.admin, "POST", f"{nobody}/test", 404)
    await ask(site.admin, "DELETE", f"{one(made)}?force=perhaps", 422)
    assert await ask(site.user, "GET", one(made), 200) == made


async def test_errors_of_attachments(site: Site) -> None:
    made, workspace_id = await make(site), await workspace(site, "net")
    await ask(site.admin, "POST", "/api/v1/organizations", 201, {"name": "other"})
    foreign = await make(site, "foreign", organization_id="other")
    body = {"run_task_id": made["run_task_id"], "stage": "post_plan"}
    nowhere = attached("ws-1111111111111111")
    here = attached(workspace_id)
    await ask(site.user, "POST", nowhere, 404, body)
    await ask(site.user, "GET", nowhere, 404)
    for wrong in (
        {**body, "run_task_id": NOBODY},
        {**body, "run_task_id": foreign["run_task_id"]},
        {**body, "stage": "cost_estimation"},
        {**body, "enforcement_level": "hard"},
        {**body, "colour": "red"},
        {"stage": "post_plan"},
        {"run_task_id": made["run_task_id"]},
    ):
        await ask(site.user, "POST", here, 422, wrong)
    first = await attach(site, workspace_id, made)
    taken = await ask(site.user, "POST", here, 409, body)
    assert first["workspace_run_task_id"] in taken["detail"]
    second = await attach(site, workspace_id, made, stage="pre_plan")
    path = f"{here}/{second['workspace_run_task_id']}"
    await ask(site.user, "PUT", path, 409, {"stage": "post_plan"})
    await ask(site.user, "PUT", path, 422, {"stage": "soon"})
    await ask(site.user, "PUT", path, 422, {"run_task_id": NOBODY})
    elsewhere = attached(await workspace(site, "app"))
    for base in (here, elsewhere, nowhere):
        attachment = "wrt-1" if base == here else second["workspace_run_task_id"]
        await ask(site.user, "PUT", f"{base}/{attachment}", 404, {"enabled": False})
        await ask(site.user, "DELETE", f"{base}/{attachment}", 404)


async def test_who_may_do_what(site: Site) -> None:
    made, workspace_id = await make(site), await workspace(site, "net")
    on = await attach(site, workspace_id, made)
    here = attached(workspace_id)
    there = f"{here}/{on['workspace_run_task_id']}"
    body = {"name": "x", "endpoint_url": "https://x.example.com"}
    for_admins = [
        ("POST", RUN_TASKS, body),
        ("PUT", one(made), {"enabled": False}),
        ("POST", f"{one(made)}/test", None),
        ("DELETE", one(made), None),
    ]
    for method, path, given in for_admins:
        await ask(site.user, method, path, 403, given)
    for method, path, given in [
        *for_admins,
        ("GET", RUN_TASKS, None),
        ("GET", one(made), None),
        ("POST", here, {"run_task_id": made["run_task_id"], "stage": "pre_plan"}),
        ("GET", here, None),
        ("PUT", there, {"enabled": False}),
        ("DELETE", there, None),
    ]:
        await ask(site.nobody, method, path, 401, given)
    assert await ask(site.user, "GET", one(made), 200) == made
