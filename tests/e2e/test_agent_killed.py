"""The agent is killed -9 in the middle of an apply: the apply ends by itself."""

import json
import os
import signal

from tests.e2e.stack import Viewer, output_of, talking, wait_for


def test_log_and_state_arrive_after_the_agent_restarts(stack):
    stack.tee_terraform()
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("killed-agent", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking(600, 0.01)})
    task = stack.task(workspace["id"], "plan_and_apply")
    viewer = Viewer(stack, task["id"])
    viewer.start()
    wait_for(
        "output of the apply",
        lambda: any("local-exec" in line[3] for line in viewer.lines.values()),
    )

    stack.agent.kill9()
    seen = len(viewer.lines)
    wait_for(
        "the apply to end without its agent",
        lambda: b"Apply complete!" in stack.truth.read_bytes(),
    )
    assert stack.get(f"/tasks/{task['id']}")["status"] == "running"
    stack.start_agent()
    done = stack.until(task["id"], "success")
    viewer.join(30)

    assert done["status"] == "success", done
    assert viewer.completed == "success"
    assert len(viewer.lines) > seen
    truth = stack.truth.read_bytes()
    assert viewer.output() == truth
    assert output_of(stack.raw(task["id"]), viewer) == truth
    state = stack.get(f"/workspaces/{workspace['id']}/state-versions/current")
    assert state["resource_count"] == 1
    assert state["task_id"] == task["id"]


def test_a_killed_phase_process_is_named_as_the_cause(stack):
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("killed-phase", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking(600, 0.05)})
    task = stack.task(workspace["id"], "plan_and_apply")
    wait_for(
        "the apply to talk",
        lambda: b"local-exec" in stack.raw(task["id"]),
    )
    pids = list((stack.root / "agent" / "phases").glob("*/pid"))
    pid = json.loads(pids[0].read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    done = stack.until(task["id"])

    assert done["status"] == "failed"
    assert "killed" in done["error"]
