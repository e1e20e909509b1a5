"""A task says more than its log may hold: it ends by its own exit code, and its state is kept."""

import json
import sys

import pytest

from tests.e2e.stack import Process, Viewer, wait_for

LIMIT = 6000
LINES = 20_000


@pytest.fixture
def capped_stack(stack):
    stack.settings["SLUICE_LOG_BYTES_PER_TASK"] = str(LIMIT)
    stack.start_server()
    stack.start_agent()
    return stack


def loud() -> str:
    """A configuration whose apply says far more than the limit, then makes a resource."""
    script = f"for i in $(seq {LINES}); do echo line $i of many; done"
    return (
        'resource "terraform_data" "loud" {\n'
        '  provisioner "local-exec" {\n'
        '    interpreter = ["/bin/bash", "-c"]\n'
        f"    command = {json.dumps(script)}\n"
        "  }\n}\n"
        'resource "terraform_data" "after" {\n'
        "  depends_on = [terraform_data.loud]\n"
        '  input = "made"\n}\n'
        'output "made" { value = terraform_data.after.output }\n'
    )


def assert_capped(text: str) -> None:
    said = f"of this log on is not stored: it has reached its limit of {LIMIT} bytes"
    assert said in text
    assert "SLUICE_LOG_BYTES_PER_TASK" in text
    assert len(text) < LIMIT + 4096


def test_an_apply_goes_on_and_its_state_is_saved(capped_stack):
    stack = capped_stack
    workspace = stack.workspace("loud", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": loud()})
    task = stack.task(workspace["id"], "plan_and_apply")
    viewer = Viewer(stack, task["id"])
    viewer.start()
    done = stack.until(task["id"], "success", "failed", seconds=120)
    viewer.join(60)
    assert done["status"] == "success", done
    # the viewer saw the line that says so, the stages behind it, and the end
    assert viewer.failure == ""
    assert viewer.completed == "success"
    text = stack.raw(task["id"]).decode()
    assert_capped(text)
    assert "========== SAVING_STATE END" in text.partition("is not stored")[2]
    assert len(viewer.lines) == text.count("\n")
    # the state has what was made after the log was full
    outputs = stack.get(f"/workspaces/{workspace['id']}/outputs")
    assert "made" in json.dumps(outputs)
    # the spool is gone with its phase
    wait_for(
        "the phases' folders to be removed",
        lambda: not list((stack.root / "agent").glob("phases/*/spool/seg-*")),
    )


def test_a_script_ends_by_its_own_exit_code(capped_stack):
    stack = capped_stack
    body = f"#!/bin/sh\nseq {LINES}\nexit 7\n"
    stack.script("loud", body)
    task_id = stack.install("loud")
    done = stack.until(task_id, "failed", "success", seconds=60)
    assert (done["status"], done["exit_code"]) == ("failed", 7)
    assert_capped(stack.raw(task_id).decode())


def test_a_run_of_exec_ends_by_its_own_exit_code(capped_stack):
    stack = capped_stack
    env = stack.env() | {
        "SLUICE_URL": stack.url,
        "SLUICE_TOKEN": stack.token,
        "SLUICE_ORGANIZATION": stack.organization,
        "XDG_STATE_HOME": str(stack.root / "state"),
    }
    command = ["--", "/bin/sh", "-c", f"seq {LINES}; exit 5"]
    run = Process(
        [sys.executable, "-m", "sluice", "exec", "--task-id", "loud-exec", *command],
        env,
        stack.root / "exec.log",
    )
    try:
        assert run.child.wait(60) == 5, run.text
    finally:
        run.stop()
    done = stack.until("loud-exec", "failed", "success", seconds=60)
    assert done["exit_code"] == 5
    assert_capped(stack.raw("loud-exec").decode())
