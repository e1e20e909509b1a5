"""A service is asked at a gate, calls back, and the task goes on or stops; over real HTTP."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from sluice.wire.events import Stage
from sluice.wire.run_task import verify, verify_webhook
from tests.agents.house import Caller, House, Json
from tests.runtasks.services import (
    Call,
    asked,
    call_back,
    document,
    new_task,
    results,
    run_task,
    service,
    task_until,
    until,
)

PLAN_JSON = Path(__file__).parents[1] / "terraform" / "data" / "plan_second.json"


async def do_plan(house: House) -> Json:
    """An agent plans what is first in the queue; returns its plan JSON."""
    job = await house.work()
    await job.started()
    await job.caller.get(f"{job.here}/configuration")
    await job.stage(Stage.PLANNING, b"Plan: 1 to add.\n")
    await job.caller.put(f"{job.here}/plan-file", b"PLAN\x00")
    await job.caller.put(f"{job.here}/plan-json", PLAN_JSON.read_bytes())
    await job.finish(has_changes=True)
    content: Json = json.loads(PLAN_JSON.read_bytes())
    return content


async def test_a_passed_verdict_lets_the_task_go_on(house: House) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        call = await checks.call()
        waiting = await house.admin.get(f"/tasks/{task_id}")
        assert (waiting["status"], waiting["stage"]) == ("running", "pre_plan")
        assert waiting["reason"] == "waits for run tasks: checks"
        assert await house.pull() is None
        [running] = await results(house, workspace, task_id)
        assert (running["status"], running["attempts"]) == ("running", 1)
        answer = await call_back(house, call)
        assert answer.status_code == 200
        said = answer.json()["data"]
        assert said["type"] == "task-results"
        assert said["attributes"]["status"] == "passed"
        assert said["attributes"]["message"] == "said so"
        job = await house.work()
        assert job.order["task_id"] == task_id
        [result] = await results(house, workspace, task_id)
        assert (result["status"], result["message"]) == ("passed", "said so")
        assert len(checks.calls) == 1


async def test_a_failed_mandatory_verdict_stops_the_task(house: House) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        call = await checks.call()
        await call_back(house, call, document("failed", "3 findings"))
        task = await task_until(house, task_id, "failed")
        assert task["error"] == "run task checks (mandatory) failed: 3 findings"
        assert await house.pull() is None


async def test_a_service_may_call_back_before_it_answers(house: House) -> None:
    statuses = []

    async def first_calls_back(call: Call) -> int:
        answer = await call_back(house, call)
        statuses.append(answer.status_code)
        return 200

    async with service(first_calls_back) as checks:
        workspace = await asked(house, checks.url)
        task_id = await new_task(house, workspace)
        assert (await house.work()).order["task_id"] == task_id

        async def answered() -> bool:
            [result] = await results(house, workspace, task_id)
            return result["http_status"] == 200

        await until("the answer to be noted", answered)
        [result] = await results(house, workspace, task_id)
        assert (result["status"], statuses) == ("passed", [200])


async def test_the_call_is_signed_and_says_all(house: House) -> None:
    async with service() as checks:
        workspace = await house.workspace("said")
        key = "only the two know"
        run_task_id = await run_task(
            house,
            "checks",
            checks.url,
            hmac_key=key,
            is_global=True,
            global_stages=["pre_plan"],
            timeout_seconds=61,
        )
        task_id = await new_task(house, workspace)
        call = await checks.call()
        assert call.target == "/check?failOn=low"
        assert verify(key, call.body, call.headers["x-tfc-task-signature"])
        assert verify_webhook(
            key,
            call.headers["webhook-id"],
            int(call.headers["webhook-timestamp"]),
            call.body,
            call.headers["webhook-signature"],
        )
        payload = call.payload
        [result] = await results(house, workspace, task_id)
        assert (result["run_task_id"], result["enforcement_level"]) == (
            run_task_id,
            "advisory",
        )
        url = house.serving.url
        assert payload["task_result_callback_url"] == (
            f"{url}/api/v1/task-results/{result['result_id']}/callback"
        )
        assert payload["task_app_url"] == (
            f"{url}/workspaces/{workspace}/tasks/{task_id}"
        )
        assert payload["organization_name"] == "acme"
        assert payload["workspace_name"] == "said"
        assert payload["timeout_seconds"] == 61
        assert payload["capabilities"] == payload["capabilitites"] == {"outcomes": True}
        assert "plan_json_api_url" not in payload
        assert call.headers["user-agent"].startswith("IaC-Platform/1.0 (sluice")

        async def noted() -> bool:
            [result] = await results(house, workspace, task_id)
            return result["request"] is not None

        await until("the request to be kept", noted)
        [result] = await results(house, workspace, task_id)
        sent = {k: v for k, v in payload.items() if k != "access_token"}
        assert result["request"] == sent
        assert call.token not in json.dumps(result)


async def test_after_the_plan_a_service_reads_it_and_is_overridden(
    house: House,
) -> None:
    async with service() as checks:
        workspace = await asked(house, checks.url, stage="post_plan")
        task_id = await new_task(house, workspace, "plan_and_apply")
        planned = await do_plan(house)
        call = await checks.call()
        payload = call.payload
        service_of = {"authorization": f"Bearer {call.token}"}

        async def fetched(name: str) -> httpx2.Response:
            path = urlsplit(payload[name]).path
            return await house.http.get(path, headers=service_of)

        plan = await fetched("plan_json_api_url")
        assert plan.status_code == 200
        assert plan.headers["content-type"] == "application/json"
        assert plan.headers["content-length"] == str(len(plan.content))
        assert plan.json() == planned
        changes = (await fetched("resource_changes_api_url")).json()
        summary = changes["summary"]
        assert payload["plan_changes"] == {
            name: summary[name] for name in ("add", "change", "destroy")
        }
        archive = await fetched("configuration_version_download_url")
        assert archive.headers["content-type"] == "application/gzip"
        assert archive.content[:2] == b"\x1f\x8b"

        await call_back(house, call, document("failed", "no"))
        assert (await fetched("plan_json_api_url")).status_code == 401
        [result] = await results(house, workspace, task_id)
        assert result["can_override"] is True
        here = f"/workspaces/{workspace}/tasks/{task_id}/run-task-results"
        path = f"{here}/{result['result_id']}/override"
        await house.admin.post(path, {"reason": " "}, expect=422)
        await house.admin.post(path, {}, expect=422)
        await Caller(house.http, "").post(path, {"reason": "x"}, expect=401)
        await house.agent.post(path, {"reason": "x"}, expect=403)
        await house.admin.post(f"{here}/rtr-none/override", {"reason": "x"}, expect=404)
        found = await house.admin.post(path, {"reason": "we know"})
        [shown] = found["results"]
        assert shown["override"]["by"] == "ann"
        assert shown["override"]["reason"] == "we know"
        assert shown["can_override"] is False
        [stage] = found["stages"]
        assert (stage["stage"], stage["passed"]) == ("post_plan", True)
        await house.admin.post(path, {"reason": "again"}, expect=409)
        task = await task_until(house, task_id, "apply_pending")
        assert [action["action"] for action in task["actions"]] == ["override"]
        text = await house.admin.get(f"/tasks/{task_id}/logs/download")
        for line in (
            b"run task checks (mandatory) failed: no",
            b"run task checks overridden: we know",
        ):
            assert line in text
        counted = await house.http.get("/metrics")
        wanted = 'sluice_run_task_results_total{stage="post_plan",status="failed"} 1.0'
        assert wanted in counted.text
