"""What the callback route answers to whom, over real HTTP."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluice.auth.model import ResultPrincipal
from sluice.base.ids import OrganizationId, RunTaskResultId, TaskId
from tests.agents.house import House
from tests.runtasks.services import (
    Call,
    Service,
    asked,
    attach,
    call_back,
    change_result,
    document,
    new_task,
    results,
    run_task,
    service,
    task_until,
    until,
)


async def one_call(house: House, checks: Service) -> tuple[str, str, Call]:
    """Workspace, task and the call about it."""
    workspace = await asked(house, checks.url)
    task_id = await new_task(house, workspace)
    return workspace, task_id, await checks.call()


def outcome(**changes: Any) -> Any:
    return {
        "type": "task-result-outcomes",
        "attributes": {
            "outcome-id": "X-1",
            "description": "a finding",
            "body": "# Found\n",
            "url": "https://example.com/x",
            "tags": {
                "Team": [{"label": "net"}],
                "severity": [{"label": "High", "level": "error"}],
                "Status": [{"label": "Denied", "level": "error"}],
            },
            **changes,
        },
    }


def with_outcomes(status: str, *outcomes: Any) -> Any:
    body = document(status)
    body["data"]["relationships"] = {"outcomes": {"data": list(outcomes)}}
    return body


async def test_only_the_tokens_own_result_is_spoken_of(house: House) -> None:
    async with service() as checks:
        _, task_id, call = await one_call(house, checks)
        second = await house.workspace("second")
        listed = await house.admin.get("/run-tasks?organization_id=acme")
        run_task_id = listed["run_tasks"][0]["run_task_id"]
        await attach(house, second, run_task_id, "pre_plan", "mandatory")
        await new_task(house, second)
        other = await checks.call(1)
        forged = house.serving.parts.issuer.result(
            ResultPrincipal(
                RunTaskResultId(call.payload["task_result_id"]),
                TaskId(task_id),
                OrganizationId("org-other"),
            ),
            issued_at=datetime.now(UTC),
            ttl=3600,
        )
        for token in (
            "",
            "nothing",
            "test-token",
            call.token[:-2],
            other.token,
            forged,
            house.admin.token,
            house.pool_token,
            house.agent.token,
        ):
            answer = await call_back(house, call, token=token)
            assert answer.status_code == 401, token
            assert answer.json()["code"] == "unauthorized"
        missing = "/api/v1/task-results/rtr-none/callback"
        answer = await call_back(house, call, path=missing)
        assert answer.status_code == 404
        same = call.callback_path.replace("task-results", "run-task-results")
        answer = await call_back(house, call, path=same)
        assert answer.status_code == 200


@pytest.mark.parametrize("media", ["application/json", "application/vnd.api+json", ""])
async def test_the_media_types_of_services_are_taken(house: House, media: str) -> None:
    async with service() as checks:
        _, _, call = await one_call(house, checks)
        refused = await call_back(house, call, media="text/plain")
        assert refused.status_code == 415
        answer = await call_back(house, call, media=media)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/vnd.api+json"


@pytest.mark.parametrize("status", ["passed", "failed"])
async def test_a_verdict_is_final(house: House, status: str) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        first = await call_back(house, call, document(status, "first"))
        assert first.status_code == 200
        for again in ("running", "passed", "failed"):
            answer = await call_back(house, call, document(again, "again"))
            assert answer.status_code == 409
            assert status in answer.json()["detail"]
        [result] = await results(house, workspace, task_id)
        assert (result["status"], result["message"]) == (status, "first")


async def test_twenty_verdicts_at_once_are_one(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        answers = await asyncio.gather(
            *(
                call_back(house, call, document("failed" if n % 2 else "passed"))
                for n in range(20)
            )
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200] + [409] * 19
        [result] = await results(house, workspace, task_id)
        [won] = [answer for answer in answers if answer.status_code == 200]
        assert won.json()["data"]["attributes"]["status"] == result["status"]


async def test_after_its_time_a_callback_is_gone(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        past = datetime.now(UTC) - timedelta(seconds=1)
        await change_result(house, call.payload["task_result_id"], timeout_at=past)
        answer = await call_back(house, call)
        assert answer.status_code == 410
        task = await task_until(house, task_id, "failed")
        assert task["error"] == (
            "run task checks (mandatory) did not answer in time: nothing was heard of it"
            " for 600 seconds"
        )
        [result] = await results(house, workspace, task_id)
        assert result["status"] == "timeout"
        assert (await call_back(house, call)).status_code == 410


async def test_after_a_cancel_a_callback_is_gone(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        await house.admin.post(f"/tasks/{task_id}/cancel", {"reason": "enough"})
        answer = await call_back(house, call)
        assert answer.status_code == 410
        assert "its task has ended" in answer.json()["detail"]
        [result] = await results(house, workspace, task_id)
        assert result["status"] == "canceled"


async def test_progress_puts_the_deadline_off_and_may_carry_outcomes(
    house: House,
) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        result_id = call.payload["task_result_id"]
        soon = datetime.now(UTC) + timedelta(seconds=20)
        await change_result(house, result_id, timeout_at=soon)
        answer = await call_back(
            house, call, with_outcomes("running", outcome(), outcome())
        )
        assert answer.status_code == 200
        assert answer.json()["data"]["attributes"]["status"] == "running"
        [result] = await results(house, workspace, task_id)
        assert result["status"] == "running"
        assert result["message"] == "said so"
        assert datetime.fromisoformat(result["timeout_at"]) > soon
        assert len(result["outcomes"]) == 2
        answer = await call_back(
            house, call, {"data": {"attributes": {"status": "running"}}}
        )
        [result] = await results(house, workspace, task_id)
        assert result["message"] == "said so"
        assert len(result["outcomes"]) == 2
        await call_back(house, call, with_outcomes("passed", outcome()))
        [result] = await results(house, workspace, task_id)
        assert result["status"] == "passed"
        [found] = result["outcomes"]
        names = [tag["name"] for tag in found["tags"]]
        assert names == ["Status", "severity", "Team"]
        assert found["tags"][0]["labels"] == [{"label": "Denied", "level": "error"}]
        assert found["tags"][2]["labels"] == [{"label": "net", "level": "none"}]
        assert found["body_bytes"] == 8
        assert "body" not in found
        here = f"/workspaces/{workspace}/tasks/{task_id}/run-task-results"
        shown = await house.http.get(
            f"/api/v1{here}/outcomes/{found['id']}/body",
            headers={"authorization": f"Bearer {house.admin.token}"},
        )
        assert shown.text == "# Found\n"
        assert shown.headers["content-type"] == "text/markdown; charset=utf-8"
        assert shown.headers["x-content-type-options"] == "nosniff"
        await house.admin.get(f"{here}/outcomes/rto-none/body", expect=404)


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"no json", 422, "body"),
        (b'{"status": "errored"}', 422, "status"),
        (b'{"data": {"attributes": {}}}', 422, "data.attributes.status"),
        (json.dumps(document("done")).encode(), 422, "data.attributes.status"),
        (
            json.dumps(with_outcomes("passed", outcome(tags=[]))).encode(),
            422,
            "data.relationships.outcomes.data[0].attributes.tags",
        ),
        (
            json.dumps(with_outcomes("passed", outcome(description=None))).encode(),
            422,
            "data.relationships.outcomes.data[0].attributes.description",
        ),
        (
            json.dumps(with_outcomes("passed", outcome(body="x" * 5_300_000))).encode(),
            413,
            "",
        ),
        (b'{"status": "passed", "message": "' + b"x" * 6_000_000 + b'"}', 413, ""),
    ],
    ids=[
        "no-json",
        "status",
        "no-status",
        "unknown-status",
        "tags",
        "no-description",
        "outcome-too-large",
        "body-too-large",
    ],
)
async def test_what_cannot_be_taken_changes_nothing(
    house: House, content: bytes, status: int, field: str
) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        answer = await call_back(house, call, content=content)
        assert answer.status_code == status
        if field:
            assert answer.json()["errors"][0]["field"] == field
        [result] = await results(house, workspace, task_id)
        assert (result["status"], result["response"]) == ("running", None)
        assert (await call_back(house, call)).status_code == 200


async def test_five_megabytes_of_markdown_are_taken(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        body = "x" * 5_000_000
        content = json.dumps(with_outcomes("passed", outcome(body=body))).encode()
        assert (await call_back(house, call, content=content)).status_code == 200
        [result] = await results(house, workspace, task_id)
        assert result["outcomes"][0]["body_bytes"] == len(body)


async def test_the_plain_form_is_taken(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        plain = {
            "status": "failed",
            "message": "1 finding",
            "resource_results": [
                {
                    "resource_address": "aws_vpc.main",
                    "status": "failed",
                    "message": "too open",
                    "severity": "critical",
                }
            ],
        }
        assert (await call_back(house, call, plain)).status_code == 200
        [result] = await results(house, workspace, task_id)
        [found] = result["outcomes"]
        assert (found["outcome_id"], found["description"]) == (
            "aws_vpc.main",
            "too open",
        )


async def test_callbacks_come_only_from_the_ranges_that_are_named(
    house: House,
) -> None:
    async with service() as checks:
        workspace = await house.workspace("ranges")
        elsewhere = await run_task(
            house, "far", checks.url, callback_allowed_cidrs=["203.0.113.0/24"]
        )
        here = await run_task(
            house,
            "near",
            checks.url,
            callback_allowed_cidrs=["203.0.113.0/24", "127.0.0.0/8"],
        )
        for run_task_id in (elsewhere, here):
            await attach(house, workspace, run_task_id, "pre_plan", "advisory")
        task_id = await new_task(house, workspace)
        calls = [await checks.call(0), await checks.call(1)]
        listed = await results(house, workspace, task_id)
        names = {row["result_id"]: row["name"] for row in listed}
        codes = {
            names[call.payload["task_result_id"]]: (
                await call_back(house, call)
            ).status_code
            for call in calls
        }
        assert codes == {"far": 403, "near": 200}


async def test_the_service_of_a_deleted_run_task_decides_nothing(house: House) -> None:
    async with service() as checks:
        workspace = await house.workspace("deleted")
        run_task_id = await run_task(
            house, "far", checks.url, callback_allowed_cidrs=["203.0.113.0/24"]
        )
        await attach(house, workspace, run_task_id, "pre_plan", "mandatory")
        task_id = await new_task(house, workspace)
        call = await checks.call()
        assert (await call_back(house, call)).status_code == 403
        await house.admin.ask(
            "DELETE", f"/run-tasks/{run_task_id}?force=true", expect=204
        )
        answer = await call_back(house, call)
        assert answer.status_code == 410
        assert "the run task far was deleted" in answer.json()["detail"]
        [result] = await results(house, workspace, task_id)
        assert result["status"] == "running"


async def test_the_token_opens_its_own_task_while_it_lives(house: House) -> None:
    async with service() as checks:
        workspace, task_id, call = await one_call(house, checks)
        other = await house.admin.post(
            f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
        )
        base = f"/api/v1/workspaces/{workspace}/tasks"

        async def status(path: str) -> int:
            answer = await house.http.get(
                path, headers={"authorization": f"Bearer {call.token}"}
            )
            return answer.status_code

        assert await status(f"{base}/{task_id}/configuration") == 200
        assert await status(f"{base}/{task_id}/plan-json") == 404
        assert await status(f"{base}/{other['id']}/configuration") == 403
        assert await status(f"{base}/{other['id']}/plan-json") == 403
        assert await status(f"{base}/{other['id']}/resource-changes") == 403
        for closed in (
            f"/api/v1/tasks/{task_id}",
            f"/api/v1/tasks/{task_id}/configuration",
            f"/api/v1/workspaces/{workspace}",
            f"{base}/{task_id}/run-task-results",
        ):
            assert await status(closed) == 403, closed
        await call_back(house, call)
        assert await status(f"{base}/{task_id}/configuration") == 401


async def test_a_running_report_spares_further_calls(house: House) -> None:
    async def fails(call: Call) -> int:
        return 503

    async with service(fails) as checks:
        workspace, task_id, call = await one_call(house, checks)

        async def noted() -> Any:
            [result] = await results(house, workspace, task_id)
            return result if result["http_status"] else None

        result = await until("the answer to be noted", noted)
        assert result["next_call_at"] is not None
        assert "answered the call with 503" in result["message"]
        await call_back(house, call, {"status": "running"})
        [result] = await results(house, workspace, task_id)
        assert (result["next_call_at"], result["message"]) == (None, "")
