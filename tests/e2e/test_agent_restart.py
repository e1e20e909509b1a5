"""The agent comes and goes beside a running apply: by kill -9, by SIGTERM, by both signals."""

import re
import signal
import time

from tests.e2e.stack import talking, wait_for

# what the platform itself says in the log
ADDED = re.compile(
    rb"^(=====+ .* =====+|applying without confirmation)\n", re.MULTILINE
)


def begin(stack, name: str, lines: int, pause: float):
    """A running apply that has begun to talk."""
    stack.tee_terraform()
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace(name, auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking(lines, pause)})
    task = stack.task(workspace["id"], "plan_and_apply")
    wait_for("the apply to talk", lambda: said(stack) > 10)
    return workspace, task


def said(stack) -> int:
    """How many lines the apply has said so far, by terraform's own output."""
    if not stack.truth.exists():
        return 0
    return len(re.findall(rb"local-exec\):.*line \d+ of", stack.truth.read_bytes()))


def assert_whole(stack, workspace, task) -> None:
    """The stored log is what terraform wrote, byte by byte, and its state is there."""
    done = stack.until(task["id"], "success")
    assert done["status"] == "success", done
    stored = ADDED.sub(b"", stack.raw(task["id"]))
    assert stored == stack.truth.read_bytes()
    state = stack.get(f"/workspaces/{workspace['id']}/state-versions/current")
    assert state["resource_count"] == 1
    assert state["task_id"] == task["id"]


def test_killed_three_times_while_terraform_talks(stack):
    workspace, task = begin(stack, "restarts", lines=900, pause=0.01)
    for _ in range(3):
        stack.agent.kill9()
        before = said(stack)
        stack.start_agent()
        wait_for("terraform to go on", lambda seen=before: said(stack) > seen + 20)
        stored = len(stack.raw(task["id"]))
        wait_for(
            "the log to go on", lambda had=stored: len(stack.raw(task["id"])) > had
        )
    assert_whole(stack, workspace, task)
    assert not list((stack.root / "agent" / "phases-fenced").iterdir())


def test_sigterm_waits_for_the_apply_and_takes_nothing_more(stack):
    workspace, task = begin(stack, "drain", lines=300, pause=0.01)
    stack.agent.child.send_signal(signal.SIGTERM)
    wait_for("the agent to drain", lambda: "draining" in stack.agent.text)
    other = stack.workspace("other")
    stack.upload(other["id"], {"main.tf": talking(1, 0)})
    late = stack.task(other["id"], "plan")
    assert stack.agent.child.wait(60) == 0
    stack.agent.stop()
    assert_whole(stack, workspace, task)
    assert stack.get(f"/tasks/{late['id']}")["status"] == "pending"
    stack.start_agent()
    assert stack.until(late["id"], "success")["status"] == "success"


def test_ctrl_c_leaves_terraform_alone(stack):
    workspace, task = begin(stack, "leave", lines=300, pause=0.01)
    before = time.monotonic()
    stack.agent.child.send_signal(signal.SIGINT)
    assert stack.agent.child.wait(10) == 0
    assert time.monotonic() - before < 5
    stack.agent.stop()
    assert task["id"] in stack.agent.text
    stack.start_agent()
    assert_whole(stack, workspace, task)


def test_a_cancel_finds_the_phase_after_a_restart(stack):
    stack.start_server()
    stack.start_agent()
    workspace = stack.workspace("cancel", auto_apply=True)
    stack.upload(workspace["id"], {"main.tf": talking(2000, 0.02)})
    task = stack.task(workspace["id"], "plan_and_apply")
    wait_for("the apply to talk", lambda: b"line 9 of" in stack.raw(task["id"]))
    stack.agent.kill9()
    stack.start_agent()
    wait_for("the phase to be taken up", lambda: "took a phase up" in stack.agent.text)
    stack.post(f"/tasks/{task['id']}/cancel", {"reason": "enough"})
    done = stack.until(task["id"], "canceled", seconds=60)
    assert done["status"] == "canceled", done
    assert "Apply complete!" not in stack.raw(task["id"]).decode()
    # the interrupted provisioner's resource is in the state, tainted
    assert stack.get(f"/workspaces/{workspace['id']}/state-versions/current")
