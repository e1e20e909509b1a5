"""A real server and agent whose `terraform plan` is the line generator.

Everything on the way is the product's own: job, masker (50 secrets), spool, uplink,
server on SQLite, viewers over WebSocket. Only the program that writes is ours.
"""

import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.measure import ROOT, ViewerProcess
from tests.e2e.stack import Stack

SECRETS = 50


class House:
    """The stack, its one workspace, and what a run needs."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.runs = 0
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
        (self.stack.root / "generator-args").write_text(
            f"--count {count} --rate {rate} --delay {delay} --wait-for {self.gate}"
        )
        self.runs += 1
        return str(self.stack.task(self.workspace, "plan")["id"])

    def go(self) -> None:
        """Let the generator write."""
        self.gate.touch()

    def viewers(
        self, task_id: str, number: int, *, seconds: float = 120, **more: object
    ) -> ViewerProcess:
        """A process with ``number`` viewers of a task."""
        return ViewerProcess(
            host="127.0.0.1",
            port=self.stack.port,
            path=self.path(task_id, str(more.pop("query", "format=batch&after=0"))),
            token=self.stack.token,
            protocol="batch",
            viewers=number,
            seconds=seconds,
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
