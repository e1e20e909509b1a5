"""The server's side of a task's whole life, told over real HTTP by a scripted agent."""

import asyncio
import io
import tarfile
from pathlib import Path

import pytest

from sluice.base.ids import TaskId
from sluice.server.settings import ServerSettings
from sluice.wire.events import (
    End,
    Stage,
)
from tests.agents.house import Caller, House, Job, open_house
from tests.tasks.world import PLAN_JSON, state_of


async def do_plan(job: Job) -> None:
    await job.started()
    await job.caller.get(f"{job.here}/configuration")
    await job.caller.get(f"{job.here}/state", expect=204)
    await job.stage(Stage.PLANNING, b"Plan: 1 to add.\n")
    for _ in range(2):
        await job.caller.put(f"{job.here}/plan-file", b"PLAN\x00")
        await job.caller.put(f"{job.here}/plan-json", PLAN_JSON.read_bytes())
    await job.finish(has_changes=True)


async def test_plan_confirm_apply(house: House) -> None:
    workspace = await house.workspace("whole")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(house.work())
        await asyncio.sleep(0.1)
        task = await house.admin.post(
            f"/workspaces/{workspace}/tasks",
            {"task_type": "plan_and_apply", "message": "first"},
            expect=201,
        )
    plan = waiting.result()
    assert plan.order["task_id"] == task["id"]
    here = f"/tasks/{task['id']}"
    content = await plan.caller.get(f"{here}/configuration")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == ["main.tf"]
    await plan.caller.get(f"{here}/state", expect=204)
    await do_plan(plan)

    planned = await house.admin.get(here)
    assert planned["status"] == "apply_pending"
    assert planned["summary"] == {"add": 1, "change": 1, "destroy": 2, "import": 0}
    assert planned["can_confirm"]
    changes = await house.admin.get(
        f"/workspaces/{workspace}/tasks/{task['id']}/resource-changes"
    )
    assert len(changes["resource_changes"]) == 3
    raw = await house.admin.get(f"/workspaces/{workspace}/tasks/{task['id']}/plan-json")
    assert raw["format_version"] == "1.2"
    await house.admin.post(f"{here}/confirm", {"reason": "fine"})

    apply = await house.work()
    assert (apply.order["phase"], apply.order["action"]) == ("apply", "plan_apply")
    await apply.started()
    assert await apply.caller.get(f"{here}/plan-file") == b"PLAN\x00"
    await apply.stage(Stage.APPLYING, b"Apply complete!\n")
    for _ in range(2):
        await apply.caller.put(f"{here}/state", state_of(1))
    conflict = await apply.caller.put(f"{here}/state", state_of(0), expect=409)
    assert conflict["code"] == "conflict"
    early = {"offset": 10**6, "next_line": 2}
    refused = await apply.finish(log_end=early, expect=409)
    assert refused["committed"] == apply.order["log"]["offset"] + len(apply.written)
    for _ in range(2):
        assert await apply.finish() == {}

    done = await house.admin.get(here)
    assert (done["status"], done["reason"]) == ("success", "applied")
    assert done["agent_name"] == "builder"
    assert {stage["name"] for stage in done["stages"]} == {"planning", "applying"}
    assert [action["action"] for action in done["actions"]] == ["confirm"]
    outputs = await house.admin.get(f"{here}/outputs")
    assert [output["value"] for output in outputs] == [1]
    current = await house.admin.get(f"/workspaces/{workspace}/state-versions/current")
    assert current["task_id"] == task["id"]
    listed = await house.admin.get(f"/workspaces/{workspace}/tasks")
    (row,) = listed["tasks"]
    assert row["log_summary"]["last_line"] == "Apply complete!"
    assert row["log_summary"]["apply_lines"] == 3
    everywhere = await house.admin.get("/organizations/acme/tasks?status=success")
    assert everywhere["total"] == 1
    free = await house.admin.get(f"/workspaces/{workspace}")
    assert free["lock"] is None
    await ended(house, task["id"], "success", plan.written, apply.written)


async def ended(house: House, task_id: str, status: str, *parts: bytes) -> None:
    """The real log is sealed with the status, and holds what the phases wrote."""
    view = await house.serving.concepts.logs.logs.view(TaskId(task_id))
    assert view.record.sealed
    assert view.record.final_status == status
    whole = b"".join([piece async for piece in view.pieces(0, view.record.committed)])
    for part in parts:
        assert part in whole
    last = (await view.read(view.record.committed, 1))[-1].event
    assert isinstance(last, End)
    assert (last.status, last.total_bytes) == (status, len(whole))


async def test_a_task_token_opens_its_own_task_while_its_lease_lasts(
    house: House,
) -> None:
    workspace = await house.workspace("tokens")
    for _ in range(2):
        await house.admin.post(
            f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
        )
    one, two = await house.work(), await house.work()
    await one.caller.get(f"{two.here}/configuration", expect=403)
    await one.caller.put(f"{two.here}/plan-file", b"x", expect=403)
    await one.caller.get(f"{one.here}", expect=403)
    await one.caller.post(
        f"{two.agent_here}/started", {"lease_id": two.order["lease_id"]}, expect=403
    )
    await house.agent.get(f"{one.here}/state", expect=403)
    await house.admin.get(f"{one.here}/state", expect=403)
    await one.caller.put(f"{one.here}/state", state_of(1), expect=409)
    await one.finish()
    await one.caller.get(f"{one.here}/configuration", expect=409)
    await one.started(expect=409)


async def test_agents_speak_for_themselves_only(house: House) -> None:
    other = await Caller(house.http, house.pool_token).post(
        "/agents/register", {"name": "other", "version": "0.1"}
    )
    workspace = await house.workspace("agents")
    await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
    )
    job = await house.work()
    stranger = Caller(house.http, other["token"])
    body = {"agent_id": house.agent_id, "busy": False}
    await stranger.post(f"/agents/{house.agent_id}/ping", body, expect=403)
    await stranger.post(
        f"/agents/{house.agent_id}/tasks/pull", {"slots": {}}, expect=403
    )
    report = {"lease_id": job.order["lease_id"]}
    path = f"/agents/{other['agent_id']}/tasks/{job.order['task_id']}/started"
    # another's lease is not there for it
    refused = await stranger.post(path, report, expect=404)
    assert refused["detail"] == f"There is no lease {report['lease_id']}."
    await house.admin.post(f"/agents/{house.agent_id}/ping", body, expect=403)
    await house.agent.post("/agents/register", {"name": "x", "version": ""}, expect=403)
    pinged = await house.agent.post(f"/agents/{house.agent_id}/ping", body)
    assert pinged["commands"] == []
    seen = await house.admin.get("/organizations/acme/agents")
    assert {agent["name"]: agent["state"] for agent in seen} == {
        "builder": "idle",
        "other": "idle",
    }


async def test_cancel_reaches_the_agent_by_its_ping(house: House) -> None:
    workspace = await house.workspace("cancel")
    task = await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
    )
    job = await house.work()
    await job.say(b"half a line")
    asked = await house.admin.post(f"/tasks/{task['id']}/cancel", {"reason": "why not"})
    assert asked["status"] == "running"
    assert asked["reason"] == "being canceled by ann: why not"
    body = {
        "agent_id": house.agent_id,
        "busy": True,
        "leases": [job.order["lease_id"]],
    }
    pinged = await house.agent.post(f"/agents/{house.agent_id}/ping", body)
    assert pinged["commands"] == [
        {"type": "cancel", "task_id": task["id"], "reason": "by ann: why not"}
    ]
    await job.finish("canceled")
    done = await house.admin.get(f"/tasks/{task['id']}")
    assert (done["status"], done["reason"]) == ("canceled", "canceled by ann: why not")
    again = await house.admin.post(f"/tasks/{task['id']}/cancel", expect=409)
    assert again["code"] == "conflict"
    await ended(house, task["id"], "canceled", job.written)


async def test_a_broken_connection_gets_no_work(house: House) -> None:
    workspace = await house.workspace("gone")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(house.pull(wait=20))
        await asyncio.sleep(0.2)
        waiting.cancel()
    await asyncio.sleep(0.1)
    task = await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
    )
    await asyncio.sleep(0.3)
    still = await house.admin.get(f"/tasks/{task['id']}")
    assert still["status"] == "pending"
    assert (await house.work()).order["task_id"] == task["id"]


async def test_no_work_is_204_in_time_and_problems_name_the_field(
    house: House,
) -> None:
    assert await house.pull() is None
    workspace = await house.workspace("words", execution_mode="plan_only")
    path = f"/workspaces/{workspace}/tasks"
    problem = await house.admin.post(path, {"task_type": "plan_and_apply"}, expect=422)
    assert "is plan_only" in problem["detail"]
    problem = await house.admin.post(path, {"task_type": "plan", "x": 1}, expect=422)
    assert "x" in problem["detail"]
    await house.admin.get("/tasks/task-none", expect=404)
    await house.admin.get(f"{path}?limit=1000", expect=422)
    await house.admin.get("/workspaces/ws-none/tasks", expect=404)


async def test_without_a_token_nothing_opens(house: House) -> None:
    nobody = Caller(house.http, "")
    for path in ("/tasks/task-1", "/organizations/acme/pools", "/tasks/task-1/state"):
        await nobody.get(path, expect=401)


@pytest.mark.parametrize("lease_seconds", [5.0])
async def test_a_silent_agent_loses_its_plan_to_another(
    tmp_path: Path, lease_seconds: float
) -> None:
    settings = ServerSettings(
        data_dir=tmp_path, port=0, lease_seconds=lease_seconds, shutdown_seconds=2
    )
    async with open_house(settings) as house:
        workspace = await house.workspace("silent")
        task = await house.admin.post(
            f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
        )
        first = await house.work()
        await first.say(b"half a line")
        async with asyncio.timeout(20):
            second = None
            while second is None:
                second = await house.pull(wait=5)
        assert second.order["log"]["epoch"] > first.order["log"]["epoch"]
        await first.caller.get(f"{first.here}/state", expect=401)
        refused = await first.finish(expect=409)
        assert refused["code"] == "fenced"
        await do_plan(second)
        done = await house.admin.get(f"/tasks/{task['id']}")
        assert done["status"] == "success"
        await ended(house, task["id"], "success", first.written, second.written)
