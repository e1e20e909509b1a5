"""A thousand gates at once, asked of slow services: right verdicts, and nothing leaks."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.gates import LOOPBACK, attach, receiving, run_task
from tests.e2e.stack import wait_for

GATES = 1000
MEMORY_BYTES = 100 * 1024 * 1024


def held_by(pid: int) -> tuple[int, int, int]:
    """Resident bytes, threads and open sockets of a process."""
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    sockets = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets += str(descriptor.readlink()).startswith("socket:")
        except OSError:
            continue
    return int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"]), sockets


@pytest.mark.timeout(900)
def test_a_thousand_gates_with_slow_services(stack):
    stack.settings |= LOOPBACK
    stack.start_server()
    workspace = stack.workspace("crowd")
    stack.upload(workspace["id"], {"main.tf": 'resource "terraform_data" "one" {}\n'})
    with receiving(stack, "slow.py", "{account}", "3", "2") as service:
        made = run_task(stack, "odd", f"{service.url}?verdict=odd")
        attach(stack, workspace["id"], made, "pre_plan", "mandatory")
        pid = stack.server.child.pid
        stack.task(workspace["id"], "plan", message="warm up 0")
        wait_for("a first verdict", lambda: len(service.said("called_back")) == 1)
        memory, threads, sockets = held_by(pid)
        peak = [memory]
        with ThreadPoolExecutor(8) as callers:
            created = callers.map(
                lambda number: stack.task(
                    workspace["id"], "plan", message=f"gate {number}"
                ),
                range(GATES),
            )
            tasks = {task["id"]: number for number, task in enumerate(created)}

        def all_called_back() -> bool:
            peak.append(held_by(pid)[0])
            return len(service.said("called_back")) >= GATES + 1

        wait_for("all verdicts", all_called_back, seconds=600)
        listed = _all_tasks(stack, workspace["id"])
        wait_for(
            "idle connections to go",
            lambda: held_by(pid)[2] <= sockets + 20,
            seconds=120,
        )
        after = held_by(pid)
        account = service.account

    wrong = [
        (number, listed[task_id])
        for task_id, number in tasks.items()
        if listed[task_id] != ("failed" if number % 2 else "pending")
    ]
    print(
        f"\n{GATES} gates: {len(wrong)} wrong verdicts,"
        f" {(max(peak) - memory) / 2**20:.0f} MB more at the peak,"
        f" threads {threads} then {after[1]}, sockets {sockets} then {after[2]}"
    )
    assert wrong == []
    called = [line["called"] for line in account if "called" in line]
    assert len(called) == len(set(called)) == GATES + 1
    assert {line["http"] for line in account if "called_back" in line} == {200}
    assert max(peak) - memory <= MEMORY_BYTES
    # a thread pool may have grown to its fixed size, not with the number of gates
    assert after[1] <= threads + 40


def _all_tasks(stack, workspace_id) -> dict[str, str]:
    found: dict[str, str] = {}
    offset = 0
    while True:
        page = stack.get(f"/workspaces/{workspace_id}/tasks?limit=100&offset={offset}")
        found |= {task["id"]: task["status"] for task in page["tasks"]}
        offset += 100
        if offset >= page["total"]:
            return found
