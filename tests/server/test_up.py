import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from sluice.testing.processes import free_port


class Up:
    """A running `sluice up`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def output(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def agent_log(self) -> str:
        path = self.folder / "data" / "agent.log"
        return path.read_text() if path.exists() else ""

    def until(self, ready: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output + self.agent_log
            time.sleep(0.05)

    def until_registered(self) -> None:
        self.until(lambda: "registered" in self.agent_log)

    @property
    def agent(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        [agent] = [each for each in children if "agent" in each.cmdline()]
        return agent


@contextmanager
def running_up(folder: Path, *arguments: str, port: int = 0) -> Iterator[Up]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLUICE_")
    }
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sluice",
                "up",
                "--data-dir",
                str(folder / "data"),
                "--port",
                str(port),
                *arguments,
            ],
            env=environment,
            stdout=out,
            stderr=out,
            cwd=folder,
        )
        started = Up(process, folder)
        try:
            yield started
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as started:
        started.until_registered()
        yield started


def test_up_shows_the_way_in_and_ends_agent_and_server_on_sigterm(up: Up) -> None:
    url = re.search(r"runs at (http://\S+);", up.output)
    assert url is not None
    assert "sls_" in up.output
    assert httpx2.get(f"{url[1]}/readyz", trust_env=False).status_code == 200
    agent = up.agent
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(30) == 0
    assert not agent.is_running()
    assert "sls_" not in (up.folder / "data" / "server.log").read_text()


def test_an_agent_that_dies_is_started_again(up: Up) -> None:
    former = up.agent
    former.kill()
    up.until(lambda: up.agent_log.count("registered") >= 2)
    assert up.agent.pid != former.pid


def test_the_second_start_has_the_same_agent_and_no_new_key(tmp_path: Path) -> None:
    identities = []
    port = free_port()
    for _ in range(2):
        with running_up(tmp_path, port=port) as started:
            started.until_registered()
            found = re.search(r"agent-\w{16}", started.agent_log)
            assert found is not None
            identities.append(found[0])
            started.process.send_signal(signal.SIGTERM)
            assert started.process.wait(30) == 0
        (tmp_path / "data" / "agent.log").unlink()
    assert identities[0] == identities[1]


def test_an_apply_that_cannot_be_uploaded_ends_with_its_exit_code(
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with running_up(tmp_path, "--apply", str(empty), "--once") as started:
        assert started.process.wait(60) == 2
    assert "no terraform files" in started.output
    assert "sls_" not in started.output


@pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")
def test_an_apply_runs_live_in_this_terminal_and_gives_its_exit_code(
    tmp_path: Path,
) -> None:
    configuration = tmp_path / "greeting"
    configuration.mkdir()
    (configuration / "main.tf").write_text(
        'resource "terraform_data" "greeting" {\n'
        '  provisioner "local-exec" { command = "echo good morning" }\n'
        "}\n"
    )
    with running_up(tmp_path, "--apply", str(configuration), "--once") as started:
        assert started.process.wait(120) == 0, started.output
    assert "(local-exec): good morning" in started.output
    assert "Apply complete! Resources: 1 added" in started.output
