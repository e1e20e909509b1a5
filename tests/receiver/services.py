"""Runs the service as the program it is, on a port of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.receiver.far_platform import KEY, PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """An environment without settings of the tests' own machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLUICE_")
    }
    return {**kept, "RUN_TASK_KEY": KEY, **more}


@dataclass
class RunningService:
    """A service that listens."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, *, quick: bool = False) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        if quick:
            assert self.said('"stopping"')
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def said(self, text: str) -> bool:
        """Whether it comes to stand in the log."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if text in self.log.read_text():
                return True
            time.sleep(0.02)
        return False

    def peak_memory(self) -> int:
        """The most memory that the service's own process ever had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def children(self) -> list[int]:
        """Processes that it has started and that are still there."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]


@contextlib.contextmanager
def running_service(
    tmp_path: Path, *arguments: str, signed: bool = True, **environ: str
) -> Iterator[RunningService]:
    """`sluice run-task …` while the block runs.

    Args:
        tmp_path: takes its log, and what it writes for a while.
        arguments: `serve` or `checkov`, and options.
        signed: whether it has the key.
        environ: more of its environment.
    """
    log = tmp_path / "service.log"
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    key = ["--hmac-key-env", "RUN_TASK_KEY"] if signed else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "run-task", *arguments, "--port=0", *key],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(TMPDIR=str(scratch), **environ),
        )
    try:
        yield RunningService(_url(process, log), process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return str(json.loads(line)["url"])
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def run_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "sluice", "run-task", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**environ),
        check=False,
    )
