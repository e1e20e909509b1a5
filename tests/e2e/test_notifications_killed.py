"""The server is killed -9 between changes and what is to be told of them: nothing is lost."""

from typing import Any

from tests.e2e.gates import LOOPBACK, receiving
from tests.e2e.stack import wait_for

TASKS = 4


def test_what_was_not_told_before_a_kill_is_told_after(stack):
    stack.settings |= LOOPBACK
    stack.start_server()
    workspace = stack.workspace("told")
    stack.upload(workspace["id"], {"main.tf": "# nothing\n"})
    door = stack.root / "open"
    with receiving(stack, "told.py", "{account}", str(door)) as receiver:
        made = stack.post(
            f"/workspaces/{workspace['id']}/notifications",
            {
                "name": "ops",
                "kind": "webhook",
                "triggers": ["task:created", "task:canceled"],
                "endpoint_url": receiver.url,
            },
        )
        tasks = []
        for number in range(TASKS):
            task = stack.task(workspace["id"], "plan")
            tasks.append(task["id"])
            stack.post(f"/tasks/{task['id']}/cancel")
            if number == TASKS // 2:
                wait_for("a first try", lambda: receiver.said("refused"))
                stack.server.kill9()
                stack.start_server()
        # killed right after the last change was answered, before it can be told
        stack.server.kill9()
        door.touch()
        stack.start_server()
        path = f"/notifications/{made['notification_id']}/deliveries"
        wait_for(
            "all to be told",
            lambda: stack.get(f"{path}?status=delivered")["total"] == 2 * TASKS,
            seconds=180,
        )
        account = receiver.said("taken")

    # at least once, under one id each, and each task's in order
    first: dict[str, Any] = {}
    for line in account:
        first.setdefault(line["taken"], line["payload"])
    assert len(first) == 2 * TASKS
    for task_id in tasks:
        told = [
            payload["type"]
            for payload in first.values()
            if payload["data"]["task"]["id"] == task_id
        ]
        assert told == ["task:created", "task:canceled"]
