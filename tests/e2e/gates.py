"""What tests of run tasks need beside a stack: receivers, run tasks, results."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.stack import Process, Stack, free_port, wait_for

RECEIVERS = Path(__file__).parent / "receivers"
KEY = "a key that only the two know"
LOOPBACK = {
    "SLUICE_OUTGOING_ALLOWED_CIDRS": "127.0.0.0/8",
    "SLUICE_OUTGOING_ALLOW_HTTP": "true",
}
"""Settings that let run tasks be on this machine."""


class Receiver:
    """A service in a process of its own, with the account it keeps."""

    def __init__(self, process: Process, url: str, account: Path) -> None:
        self.process = process
        self.url = url
        self._account = account

    @property
    def account(self) -> list[dict]:
        """What it has said so far."""
        if not self._account.exists():
            return []
        # not splitlines: there are other ends of lines than \n in what is sent
        lines = self._account.read_text().split("\n")
        return [json.loads(line) for line in lines if line]

    def said(self, word: str) -> list[dict]:
        """Lines of the account that have this word."""
        return [line for line in self.account if word in line]


@contextmanager
def receiving(stack: Stack, *argv: str) -> Iterator[Receiver]:
    """A receiver, given its port and its account after the program's name."""
    program = RECEIVERS / argv[0]
    interpreter = sys.executable
    if program.suffix == ".mjs":
        interpreter = shutil.which("node") or pytest.skip("node is not on PATH")
    port = free_port()
    account = stack.root / f"{program.stem}-{port}.jsonl"
    arguments = [part.format(account=account) for part in argv[1:]]
    process = Process(
        [interpreter, str(program), str(port), *arguments],
        stack.env(),
        stack.root / f"{program.stem}-{port}.log",
    )
    try:
        wait_for(f"{program.name} to listen", lambda: _listens(process, port))
        yield Receiver(process, f"http://127.0.0.1:{port}/", account)
    finally:
        process.stop()


def _listens(process: Process, port: int) -> bool:
    assert process.child.poll() is None, process.text
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run_task(stack: Stack, name: str, url: str, **fields) -> str:
    """Define a run task; returns its id."""
    [organization] = [
        row["id"]
        for row in stack.get("/organizations")
        if row["name"] == stack.organization
    ]
    made = stack.post(
        "/run-tasks",
        {
            "organization_id": organization,
            "name": name,
            "endpoint_url": url,
            **fields,
        },
    )
    return made["run_task_id"]


def attach(
    stack: Stack, workspace_id: str, run_task_id: str, stage: str, level: str
) -> None:
    """Have it asked at a stage of the workspace's tasks."""
    stack.post(
        f"/workspaces/{workspace_id}/run-tasks",
        {"run_task_id": run_task_id, "stage": stage, "enforcement_level": level},
    )


def results(stack: Stack, workspace_id: str, task_id: str) -> list[dict]:
    """What the run tasks said of a task, with stage and name."""
    answer = stack.get(f"/workspaces/{workspace_id}/tasks/{task_id}/run-task-results")
    return answer["results"]
