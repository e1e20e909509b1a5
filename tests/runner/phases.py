"""A phase to run: a stand-in for the server's task routes, and a directory with a spec."""

import http.server
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from sluice.runner.job_spec import JobLimits, JobResult, JobSpec
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolReader
from sluice.wire.agent import (
    Engine,
    LogPosition,
    OrderVariable,
    PhaseName,
    PhaseOrder,
    PlanOptions,
)
from sluice.wire.chunk import Chunk, Source

TASK_TOKEN = "task-token-not-for-the-log"
TASK = "/api/v1/tasks/task-1"
BASE = LogPosition(epoch=1, offset=0, next_line=1)


@dataclass
class Answer:
    """What the server says instead of doing its work, so many times (-1: always)."""

    status: int
    times: int = -1
    body: bytes = b'{"detail": "said the test"}'


@dataclass
class TaskServer:
    """Stored bodies by path, what was asked, and answers to give instead."""

    url: str = ""
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    instead: dict[tuple[str, str], Answer] = field(default_factory=dict)

    def configuration(self, files: dict[str, str]) -> None:
        """The configuration that `GET /configuration` gives."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        self.stored[f"{TASK}/configuration"] = buffer.getvalue()

    @property
    def state(self) -> dict[str, object]:
        """The stored state, read."""
        read: dict[str, object] = json.loads(self.stored[f"{TASK}/state"])
        return read

    def answer(self, method: str, path: str) -> Answer | None:
        """What to say instead of doing the work, if anything."""
        answer = self.instead.get((method, path))
        if answer is None or answer.times == 0:
            return None
        answer.times -= 1
        return answer


class _Handler(http.server.BaseHTTPRequestHandler):
    """The routes that a task token opens."""

    protocol_version = "HTTP/1.1"
    made: TaskServer

    def do_GET(self) -> None:
        self._serve("GET", None)

    def do_PUT(self) -> None:
        length = int(self.headers["content-length"])
        self._serve("PUT", self.rfile.read(length))

    def _serve(self, method: str, body: bytes | None) -> None:
        self.made.requests.append((method, self.path))
        instead = self.made.answer(method, self.path)
        if self.headers["authorization"] != f"Bearer {TASK_TOKEN}":
            self._say(401, b"")
        elif instead is not None:
            self._say(instead.status, instead.body)
        elif body is not None:
            self.made.stored[self.path] = body
            self._say(200, b"{}")
        elif self.path in self.made.stored:
            self._say(200, self.made.stored[self.path])
        else:
            self._say(204, b"")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def task_server() -> Iterator[TaskServer]:
    """A server with a task's routes, over real HTTP."""
    made = TaskServer()
    handler = type("Handler", (_Handler,), {"made": made})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class PhaseToRun:
    """A phase directory under ``root`` and the spec its job gets."""

    root: Path
    server: TaskServer
    terraform: str
    phase: PhaseName = PhaseName.PLAN
    variables: list[OrderVariable] = field(default_factory=list)
    options: PlanOptions = field(default_factory=PlanOptions)
    working_directory: str = ""
    limits: JobLimits = field(
        default_factory=lambda: JobLimits(drain_grace=1.0, upload_deadline=5.0)
    )
    mask: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    binary_problem: str = ""

    @property
    def dir(self) -> PhaseDir:
        return PhaseDir(self.root / "phases" / f"lease-{self.phase.value}")

    @property
    def kept(self) -> Path:
        return self.root / "state-kept"

    def spec(self) -> JobSpec:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
        return JobSpec(
            order=self.order(),
            server_url=self.server.url,
            binary=self.terraform,
            binary_problem=self.binary_problem,
            environment=inherited
            | {
                "TF_CLI_CONFIG_FILE": os.environ["TF_CLI_CONFIG_FILE"],
                "CHECKPOINT_DISABLE": "1",
            }
            | self.environment,
            mask=self.mask,
            state_kept_dir=str(self.kept),
            limits=self.limits,
        )

    def order(self) -> PhaseOrder:
        return PhaseOrder(
            task_id="task-1",
            lease_id=f"lease-{self.phase.value}",
            lease_seconds=60,
            workspace_id="ws-1",
            workspace_name="demo",
            organization_id="org-1",
            action="plan_apply",
            phase=self.phase,
            engine=Engine.TERRAFORM,
            terraform_version="1.11.4",
            working_directory=self.working_directory,
            configuration_url=f"{TASK}/configuration",
            state_url=f"{TASK}/state",
            plan_url=f"{TASK}/plan-file",
            plan_json_url=f"{TASK}/plan-json",
            variables=self.variables,
            options=self.options,
            task_token=TASK_TOKEN,
            log=BASE,
        )

    # --- what the job left ---

    def chunks(self) -> list[Chunk]:
        reader = SpoolReader(self.dir.spool, BASE)
        chunks: list[Chunk] = []
        reader.refresh()
        while more := reader.read(1_000_000):
            chunks += more
            reader.refresh()
        reader.close()
        return chunks

    def log(self, source: Source | None = None) -> str:
        chunks = [c for c in self.chunks() if source in {None, c.source}]
        return b"".join(chunk.data for chunk in chunks).decode()

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: self.dir.spool.exists() and text in self.log(), text)

    def wait_for_result(self) -> JobResult:
        wait_until(self.dir.result.exists, "the result", seconds=60)
        wait_until(lambda: not self.dir.job_is_alive(), "the job's end")
        result = self.dir.read_result()
        assert result is not None
        return result


def wait_until(probe: Callable[[], bool], what: str, *, seconds: float = 30.0) -> None:
    """Wait for something to become true, or fail naming it."""
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"waited in vain for {what!r}"
        time.sleep(0.02)
