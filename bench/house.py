"""A real server and agent whose `terraform plan` is the line generator.

Everything on the way is the product's own: job, masker (50 secrets), spool, uplink,
server on SQLite, viewers over WebSocket. Only the program that writes is ours.
"""

import contextlib
import json
import secrets
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.measure import ROOT, ViewerProcess, is_whole
from tests.e2e.stack import Stack, wait_for

SECRETS = 50
_ARCHIVED = "SELECT archived_at IS NOT NULL FROM logs WHERE task_id = ?"
_ROWS = "SELECT EXISTS (SELECT 1 FROM log_chunks WHERE task_id = ?)"


class House:
    """The stack, its one workspace, and what a run needs."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._accounts: dict[str, Path] = {}
        self.gate = stack.root / "gate"
        self.workspace = stack.workspace("bench")["id"]
        stack.upload(self.workspace, {"main.tf": "# nothing\n"})
        for number in range(SECRETS):
            stack.post(
                f"/workspaces/{self.workspace}/variables",
                {
                    "key": f"secret_{number}",
                    "value": secrets.token_urlsafe(24),
                    "sensitive": True,
                },
            )

    @property
    def server(self) -> psutil.Process:
        """The server's process."""
        assert self.stack.server is not None
        return psutil.Process(self.stack.server.child.pid)

    @property
    def agent(self) -> psutil.Process:
        """The agent's process."""
        assert self.stack.agent is not None
        return psutil.Process(self.stack.agent.child.pid)

    def phase_processes(self) -> set[int]:
        """The processes of phases that are not yet cleared away."""
        found = set()
        for file in (self.stack.root / "agent").glob("phases/*/pid"):
            with contextlib.suppress(FileNotFoundError):
                found.add(int(json.loads(file.read_text())["pid"]))
        return found

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        times = self.server.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """The server's resident bytes."""
        return int(self.server.memory_info().rss)

    def path(self, task_id: str, query: str = "format=batch&after=0") -> str:
        """Where viewers of a task connect."""
        return f"/api/v1/tasks/{task_id}/output/stream?{query}"

    def start(self, count: int, rate: float = 0.0, delay: float = 0.5) -> str:
        """A plan whose output waits for `go`, then ``delay`` seconds; its task id."""
        self.gate.unlink(missing_ok=True)
        account = self.stack.root / f"account-{len(self._accounts)}"
        (self.stack.root / "generator-args").write_text(
            f"--count {count} --rate {rate} --delay {delay} --wait-for {self.gate}"
            f" --account {account}"
        )
        task_id = str(self.stack.task(self.workspace, "plan")["id"])
        self._accounts[task_id] = account
        return task_id

    def go(self) -> None:
        """Let the generator write."""
        self.gate.touch()

    def lost(self, task_id: str, viewers: int, *results: dict) -> float:
        """0 where each of ``viewers`` got every line just as it was written, else 1."""
        account = json.loads(self._accounts[task_id].read_text())
        return 0.0 if is_whole(account, viewers, results) else 1.0

    def is_archived(self, task_id: str) -> bool:
        """Whether a task's log is read from its archived object."""
        return self._asked(_ARCHIVED, task_id)

    def until_archived(self, task_id: str) -> None:
        """Wait until a log is archived and its rows are gone, so that nothing more is
        done for it.
        """
        wait_for(
            f"the log of {task_id} to be archived",
            lambda: self.is_archived(task_id) and not self._asked(_ROWS, task_id),
            seconds=180,
        )

    def _asked(self, question: str, task_id: str) -> bool:
        path = self.stack.root / "server" / "sluice.db"
        with contextlib.closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        ) as database:
            row = database.execute(question, (task_id,)).fetchone()
        return bool(row and row[0])

    def viewers(
        self, task_id: str, number: int, *, seconds: float = 120, **more: object
    ) -> ViewerProcess:
        """A process with ``number`` viewers of a task, from its first line on."""
        return ViewerProcess(
            host="127.0.0.1",
            port=self.stack.port,
            path=self.path(task_id),
            token=self.stack.token,
            protocol="batch",
            viewers=number,
            seconds=seconds,
            first_line=1,
            **more,
        )


@contextlib.contextmanager
def house() -> Iterator[House]:
    """Server and agent while the block runs, in a directory of their own."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        stack = Stack(
            Path(name),
            SLUICE_STREAM_VIEWERS_PER_TASK="10000",
            SLUICE_STREAMS_PER_USER="10000",
            SLUICE_STREAMS_PER_MINUTE_PER_ADDRESS="1000000",
            SLUICE_REQUESTS_PER_MINUTE_PER_ADDRESS="0",
            SLUICE_REQUESTS_PER_MINUTE_PER_CREDENTIAL="0",
            SLUICE_REQUESTS_PER_MINUTE_PER_ORGANIZATION="0",
        )
        terraform = stack.root / "bin" / "terraform"
        terraform.write_text(
            "#!/bin/bash\n"
            'case "$1" in\n'
            '  version) echo \'{"terraform_version":"1.11.4"}\';;\n'
            f"  plan) touch plan.out; exec {sys.executable}"
            f" {ROOT}/bench/generator.py $(cat {stack.root}/generator-args);;\n"
            '  show) echo \'{"format_version":"1.2","terraform_version":"1.11.4"}\';;\n'
            "esac\n"
        )
        terraform.chmod(0o755)
        try:
            stack.start_server()
            stack.start_agent()
            yield House(stack)
        finally:
            stack.close()
