"""A real server, a real agent and a person's client, as processes on loopback ports."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from typing_extensions import override
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

REAL_TERRAFORM = "/usr/local/bin/terraform"
TERMINAL = {"success", "failed", "canceled", "discarded"}


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what, probe, seconds=60.0):
    """The first true answer of ``probe``; fails the test naming ``what`` after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


class Process:
    """A child process whose output goes to a file; killed by its own id at the end."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self._file = log.open("ab")
        self.child = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def kill9(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)
        self._file.close()

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(10)
        self._file.close()


class Stack:
    """One server with its data directory, one agent, and an administrator's token."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings
        self.server: Process | None = None
        self.agent: Process | None = None
        self.token = ""
        self.organization = "acme"
        self.truth = root / "truth.bin"
        self._starts = 0
        (root / "bin").mkdir()
        (root / "terraformrc").write_text("")

    # --- processes ---

    def env(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SLUICE_", "TF_"))
        }
        return kept | {
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_DATA_HOME": str(self.root / "share"),
            "TF_CLI_CONFIG_FILE": str(self.root / "terraformrc"),
            "PATH": f"{self.root / 'bin'}:{kept['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }

    def start_server(self) -> None:
        self._starts += 1
        env = self.env() | {
            "SLUICE_DATA_DIR": str(self.root / "server"),
            "SLUICE_HOST": "127.0.0.1",
            "SLUICE_PORT": str(self.port),
            **self.settings,
        }
        log = self.root / f"server-{self._starts}.log"
        self.server = Process([sys.executable, "-m", "sluice", "server"], env, log)
        wait_for("the server's /readyz", self._ready)
        if not self.token:
            self._redeem()

    def _ready(self) -> bool:
        assert self.server is not None
        assert self.server.child.poll() is None, self.server.text
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    def _redeem(self) -> None:
        assert self.server is not None
        found = re.search(r"sls_[A-Za-z0-9_-]+", self.server.text)
        assert found, self.server.text
        answer = httpx2.post(
            f"{self.url}/api/v1/auth/setup", json={"token": found[0], "name": "ann"}
        )
        assert answer.status_code in (200, 201), answer.text
        self.token = answer.json()["token"]
        self.post("/organizations", {"name": self.organization})
        self.post(f"/organizations/{self.organization}/pools", {"name": "tests"})

    def start_agent(self, **settings: str) -> None:
        pools = self.get(f"/organizations/{self.organization}/pools")
        pools = pools if isinstance(pools, list) else pools["pools"]
        if not (self.root / "pool-token").exists():
            made = self.post(f"/pools/{pools[0]['id']}/tokens", {"name": "tests"})
            (self.root / "pool-token").write_text(made["token"])
        env = self.env() | {
            "SLUICE_URL": self.url,
            "SLUICE_POOL_TOKEN": (self.root / "pool-token").read_text(),
            "SLUICE_AGENT_NAME": "tests",
            "SLUICE_AGENT_DATA_DIR": str(self.root / "agent"),
            **settings,
        }
        count = len(list(self.root.glob("agent-*.log")))
        self.agent = Process(
            [sys.executable, "-m", "sluice", "agent"],
            env,
            self.root / f"agent-{count}.log",
        )

    def close(self) -> None:
        for process in (self.agent, self.server):
            if process is not None:
                process.stop()
        for phase in (self.root / "agent").glob("phases/*/pid"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                pid = json.loads(phase.read_text())["pid"]
                os.killpg(pid, signal.SIGKILL)

    def tee_terraform(self) -> None:
        """Put a `terraform` on PATH that also writes its stdout to `truth`, raw."""
        wrapper = self.root / "bin" / "terraform"
        wrapper.write_text(
            "#!/bin/bash\n"
            'case "$1" in\n'
            f'  init|plan|apply) {REAL_TERRAFORM} "$@" | tee -a "{self.truth}";'
            " exit ${PIPESTATUS[0]};;\n"
            f'  *) exec {REAL_TERRAFORM} "$@";;\n'
            "esac\n"
        )
        wrapper.chmod(0o755)

    # --- scripts ---

    def patch_pool(self, **fields) -> None:
        """Change the one pool's rules."""
        [pool] = self.get(f"/organizations/{self.organization}/pools")
        answer = self.request("PATCH", f"/pools/{pool['id']}", json=fields)
        assert answer.status_code == 200, answer.text

    def script(self, key: str, body: str, **fields) -> dict:
        """Register a shell script."""
        return self.post(
            f"/organizations/{self.organization}/scripts",
            {
                "key": key,
                "name": key,
                "interpreter": ["/bin/sh"],
                "body": body,
                **fields,
            },
        )

    def install(self, key: str, version: str = "1.0", **parameters) -> str:
        """Start a registered script; returns its task."""
        answer = httpx2.post(
            f"{self.url}/v1/soft/install",
            json={
                "key": key,
                "version": version,
                "organization": self.organization,
                **parameters,
            },
            headers=self.headers,
            timeout=30,
        )
        assert answer.status_code < 300, answer.text
        return answer.json()["task_id"]

    # --- a person's calls ---

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def request(self, method, path, **kwargs):
        return httpx2.request(
            method,
            f"{self.url}/api/v1{path}",
            headers=self.headers,
            timeout=30,
            **kwargs,
        )

    def get(self, path):
        answer = self.request("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None):
        answer = self.request("POST", path, json=body if body is not None else {})
        assert answer.status_code < 300, answer.text
        return answer.json()

    def workspace(self, name: str, **fields):
        return self.post(
            f"/organizations/{self.organization}/workspaces", {"name": name, **fields}
        )

    def upload(self, workspace_id: str, files: dict[str, str]) -> str:
        made = self.post(f"/workspaces/{workspace_id}/configuration-versions")
        answer = httpx2.put(
            self.url + made["upload_url"],
            content=archive(files),
            headers=self.headers,
            timeout=30,
        )
        assert answer.status_code < 300, answer.text
        return made["id"]

    def task(self, workspace_id: str, task_type: str, **fields):
        return self.post(
            f"/workspaces/{workspace_id}/tasks", {"task_type": task_type, **fields}
        )

    def until(self, task_id: str, *statuses: str, seconds: float = 90):
        """The task once its status is one of ``statuses`` (or terminal)."""
        wanted = set(statuses) | TERMINAL

        def probe():
            try:
                task = self.get(f"/tasks/{task_id}")
            except httpx2.HTTPError:
                return None
            return task if task["status"] in wanted else None

        return wait_for(f"task {task_id} to be one of {wanted}", probe, seconds)

    def raw(self, task_id: str) -> bytes:
        answer = self.request("GET", f"/tasks/{task_id}/logs/download?raw=true")
        assert answer.status_code == 200, answer.text
        return answer.content

    def follow(self, task_id: str, after: int = 0) -> Iterator[dict]:
        """Frames of one connection, from line ``after`` on, as dictionaries."""
        address = self.url.replace("http", "ws", 1)
        with connect(
            f"{address}/api/v1/tasks/{task_id}/output/stream?format=batch&after={after}",
            additional_headers=self.headers,
            max_size=None,
            compression=None,
            proxy=None,
        ) as socket_:
            for message in socket_:
                yield json.loads(message)


class Viewer(threading.Thread):
    """Reads a task's lines and, when cut off, goes on after the last line it saw."""

    def __init__(self, stack: Stack, task_id: str) -> None:
        super().__init__(daemon=True)
        self.stack = stack
        self.task_id = task_id
        self.lines: dict[int, list] = {}
        self.repeated = 0
        self.connections = 0
        self.completed = ""
        self.failure = ""

    @override
    def run(self) -> None:
        deadline = time.monotonic() + 180
        while not self.completed and time.monotonic() < deadline:
            try:
                self.connections += 1
                for frame in self.stack.follow(
                    self.task_id, max(self.lines, default=0)
                ):
                    self.take(frame)
            except (OSError, WebSocketException):
                time.sleep(0.1)
            except AssertionError as error:
                self.failure = str(error)
                return

    def take(self, frame: dict) -> None:
        if frame["type"] == "batch":
            for number, line in enumerate(frame["lines"], frame["first_line"]):
                self.add(number, line)
        elif frame["type"] == "stage_marker":
            self.add(frame["line_num"], [0, "marker", "INFO", frame["line"]])
        elif frame["type"] == "completed":
            self.completed = frame["status"]

    def add(self, number: int, line: list) -> None:
        self.repeated += number in self.lines
        assert number == max(self.lines, default=0) + 1, f"gap before line {number}"
        self.lines[number] = line

    def output(self) -> bytes:
        """What the process wrote, put together from its lines."""
        return "".join(
            line[3] + "\n"
            for _, line in sorted(self.lines.items())
            if line[1] in ("stdout", "stderr")
        ).encode()


def output_of(raw: bytes, viewer: Viewer) -> bytes:
    """The raw log without the lines that the platform added (known by the viewer)."""
    lines = raw.split(b"\n")
    return b"\n".join(
        line
        for number, line in enumerate(lines, 1)
        if number not in viewer.lines or viewer.lines[number][1] in ("stdout", "stderr")
    )


@dataclass(frozen=True)
class Count:
    """How many of the numbered lines were found, lost, and found more than once."""

    found: int
    lost: int
    twice: int


def numbered(lines: int, pause: float) -> str:
    """A shell script that prints ``lines`` numbered lines, with a pause after each."""
    return (
        f"i=0; while [ $i -lt {lines} ]; do i=$((i+1));"
        f' echo "number $i of {lines}"; sleep {pause}; done\n'
    )


def counted(output: bytes, lines: int) -> Count:
    """What became of the lines of `numbered`."""
    found = Counter(
        re.findall(rf"^number (\d+) of {lines}$", output.decode(), re.MULTILINE)
    )
    return Count(
        found=sum(found.values()),
        lost=sum(str(number) not in found for number in range(1, lines + 1)),
        twice=sum(times - 1 for times in found.values()),
    )


def archive(files: dict[str, str]) -> bytes:
    """A tar.gz of some text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def talking(lines: int, pause: float) -> str:
    """A configuration whose apply prints ``lines`` numbered lines, with a pause each."""
    script = (
        f"for i in $(seq 1 {lines}); do echo line $i of {lines} $RANDOM;"
        f" sleep {pause}; done"
    )
    return (
        'resource "terraform_data" "talk" {\n'
        '  provisioner "local-exec" {\n'
        '    interpreter = ["/bin/bash", "-c"]\n'
        f"    command = {json.dumps(script)}\n"
        "  }\n}\n"
        'output "said" { value = ' + str(lines) + " }\n"
    )
