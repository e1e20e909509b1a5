"""The server is killed -9 while run tasks are called: one series of calls a gate, deadlines kept."""

import time
from collections import defaultdict
from datetime import datetime

from tests.e2e.gates import LOOPBACK, attach, receiving, results, run_task
from tests.e2e.stack import wait_for

KILLS = 3


def test_calls_and_deadlines_outlive_the_server(stack):
    stack.settings |= LOOPBACK
    stack.start_server()
    workspace = stack.workspace("killed-at-a-gate")
    stack.upload(workspace["id"], {"main.tf": 'resource "terraform_data" "one" {}\n'})
    with receiving(stack, "slow.py", "{account}", "4", "1") as service:
        for name, verdict, level in (
            ("passes", "passed", "mandatory"),
            ("warns", "failed", "advisory"),
            ("silent", "silent", "advisory"),
        ):
            made = run_task(
                stack, name, f"{service.url}?verdict={verdict}", timeout_seconds=60
            )
            attach(stack, workspace["id"], made, "pre_plan", level)
        task = stack.task(workspace["id"], "plan")
        wait_for("all three calls", lambda: len(service.said("called")) >= 3)
        deadlines: dict[str, tuple[str, str]] = {}
        for _ in range(KILLS):
            before = {
                row["name"]: row for row in results(stack, workspace["id"], task["id"])
            }
            for name, row in before.items():
                if row["status"] == "running":
                    deadlines.setdefault(name, deadlines_of(row))
            stack.server.kill9()
            time.sleep(1)
            stack.start_server()
        after = {
            row["name"]: row for row in results(stack, workspace["id"], task["id"])
        }
        assert "silent" in deadlines
        for name, (timeout_at, last_timeout_at) in deadlines.items():
            assert after[name]["last_timeout_at"] == last_timeout_at
            # who was heard of has time anew
            if after[name]["status"] == "running":
                assert after[name]["timeout_at"] == timeout_at
        passed = wait_for(
            "the gate to be passed",
            lambda: _passed(stack, task["id"]),
            seconds=180,
        )
        found = {
            row["name"]: row for row in results(stack, workspace["id"], task["id"])
        }
        account = service.account

    assert passed["status"] == "pending"
    assert {name: row["status"] for name, row in found.items()} == {
        "passes": "passed",
        "warns": "failed",
        "silent": "timeout",
    }
    silent = found["silent"]
    assert datetime.fromisoformat(silent["completed_at"]) >= datetime.fromisoformat(
        silent["timeout_at"]
    )
    calls = defaultdict(set)
    for line in account:
        if "called" in line:
            calls[line["called"]].add(line["token"])
    assert set(calls) == {row["result_id"] for row in found.values()}
    assert all(len(tokens) == 1 for tokens in calls.values())


def deadlines_of(row):
    return row["timeout_at"], row["last_timeout_at"]


def _passed(stack, task_id):
    task = stack.get(f"/tasks/{task_id}")
    stages = {stage["name"]: stage["status"] for stage in task["stages"]}
    return task if stages.get("pre_plan") == "completed" else None
