"""A mandatory run task fails and blocks a real plan and apply; an override lets it pass."""

import pytest

from tests.e2e.gates import LOOPBACK, attach, receiving, results, run_task
from tests.e2e.stack import Viewer, wait_for

CONFIGURATION = 'resource "terraform_data" "one" {}\n'


@pytest.mark.parametrize("stage", ["pre_plan", "post_plan", "pre_apply"])
def test_an_override_lets_a_blocked_task_go_on(stack, stage):
    stack.settings |= LOOPBACK
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("blocked")
    stack.upload(workspace["id"], {"main.tf": CONFIGURATION})
    with receiving(stack, "slow.py", "{account}", "0", "0") as service:
        made = run_task(stack, "scan", f"{service.url}?verdict=failed")
        attach(stack, workspace["id"], made, stage, "mandatory")
        task = stack.task(workspace["id"], "plan_and_apply")
        viewer = Viewer(stack, task["id"])
        viewer.start()
        if stage == "pre_apply":
            stack.until(task["id"], "apply_pending")
            stack.post(f"/tasks/{task['id']}/confirm")
        blocked = wait_for("the block", lambda: _blocked(stack, task["id"]))
        [result] = results(stack, workspace["id"], task["id"])
        address = (
            f"/workspaces/{workspace['id']}/tasks/{task['id']}"
            f"/run-task-results/{result['result_id']}/override"
        )
        without_reason = stack.request("POST", address, json={})
        overridden = stack.post(address, {"reason": "known, and accepted"})
        again = stack.request("POST", address, json={"reason": "once more"})
        if stage != "pre_apply":
            stack.until(task["id"], "apply_pending")
            stack.post(f"/tasks/{task['id']}/confirm")
        done = stack.until(task["id"], "success")
        viewer.join(60)

    assert (blocked["status"], blocked["stage"], blocked["gate"]) == (
        "running",
        stage,
        stage,
    )
    assert "scan (mandatory) failed" in blocked["reason"]
    assert (blocked["can_discard"], blocked["can_confirm"]) == (True, False)
    assert result["can_override"] is True
    assert without_reason.status_code == 422
    [after] = overridden["results"]
    assert after["override"]["reason"] == "known, and accepted"
    assert after["can_override"] is False
    assert again.status_code == 409
    assert done["status"] == "success"
    assert ("override", "ann") in [
        (action["action"], action["actor"]) for action in done["actions"]
    ]
    assert viewer.failure == ""
    said = [line[3] for _, line in sorted(viewer.lines.items())]
    assert sum(f"blocked at {stage}" in line for line in said) == 1
    assert sum("run task scan overridden: known, and accepted" in line for line in said)
    marker = f"{stage.upper()} END"
    assert sum(marker in line for line in said) == 1
    audit = stack.get("/audit?action=run_task_result.override")
    assert [entry["subject"] for entry in audit["entries"]] == [result["result_id"]]


def test_a_plan_fails_at_once_and_its_saved_plan_may_be_let_pass(stack):
    stack.settings |= LOOPBACK
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("failed")
    stack.upload(workspace["id"], {"main.tf": CONFIGURATION})
    with receiving(stack, "slow.py", "{account}", "0", "0") as service:
        made = run_task(stack, "scan", f"{service.url}?verdict=failed")
        attach(stack, workspace["id"], made, "post_plan", "mandatory")
        plan = stack.task(workspace["id"], "plan")
        failed = stack.until(plan["id"], "failed")
        refused = stack.request(
            "POST",
            f"/workspaces/{workspace['id']}/tasks",
            json={"task_type": "apply", "plan_task_id": plan["id"]},
        )
        [result] = results(stack, workspace["id"], plan["id"])
        stack.post(
            f"/workspaces/{workspace['id']}/tasks/{plan['id']}"
            f"/run-task-results/{result['result_id']}/override",
            {"reason": "accepted"},
        )
        apply = stack.task(workspace["id"], "apply", plan_task_id=plan["id"])
        done = stack.until(apply["id"], "success")

    assert "scan (mandatory) failed" in failed["error"]
    assert refused.status_code in (409, 422)
    assert done["status"] == "success"


def _blocked(stack, task_id):
    task = stack.get(f"/tasks/{task_id}")
    return task if task["blocked"] else None
