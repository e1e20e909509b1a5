"""An agent that was killed finds its phases again; terraform notices nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sluice.base.clock import SystemClock
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.takeup import find_phases, put_away, sweep
from sluice.runner.workplace import Folders
from sluice.wire.agent import PhaseName, PhaseOutcome
from tests.runner.agent_server import (
    POOL_TOKEN,
    FakeServer,
    archive,
    order_for,
    until,
)


def talking(lines: int, pause: float) -> str:
    """A configuration whose apply says numbered lines, with a pause after each."""
    script = f"for i in $(seq 1 {lines}); do echo number $i; sleep {pause}; done"
    return (
        'resource "terraform_data" "talk" {\n'
        '  provisioner "local-exec" {\n'
        f"    command = {json.dumps(script)}\n"
        "  }\n}\n"
    )


class Program:
    """`sluice agent` as a process of its own, in one data directory."""

    def __init__(self, root: Path, server: FakeServer) -> None:
        self.root = root
        self.server = server
        self.child: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        env = {name: v for name, v in os.environ.items() if "SLUICE" not in name}
        env |= {
            "SLUICE_URL": self.server.url,
            "SLUICE_POOL_TOKEN": POOL_TOKEN,
            "SLUICE_AGENT_NAME": "tests",
            "SLUICE_AGENT_DATA_DIR": str(self.root / "agent"),
            "SLUICE_AGENT_CACHE_DIR": str(self.root / "cache"),
            "XDG_CONFIG_HOME": str(self.root),
        }
        with (self.root / f"agent-{self.starts}.log").open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "sluice", "agent"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        return self.child.wait(30)

    def said(self) -> str:
        return (self.root / f"agent-{self.starts}.log").read_text()

    def phase(self, order) -> PhaseDir:
        return PhaseDir(self.root / "agent" / "phases" / order.lease_id)

    def finished(self, order, seconds: float = 60):
        until(lambda: order.lease_id in self.server.results, seconds)
        return self.server.results[order.lease_id]

    def talked(self, order, text: str) -> None:
        until(lambda: text in self.server.log(order).text(), 30)

    def applying(self, configuration: str):
        """An apply of a configuration that has begun to talk."""
        self.server.configuration = archive({"main.tf": configuration})
        plan = self.server.give(order_for())
        assert self.finished(plan).outcome is PhaseOutcome.SUCCEEDED
        order = self.server.give(order_for(PhaseName.APPLY))
        self.talked(order, "number 3")
        return order

    def close(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.end(signal.SIGKILL)
        for pid in (self.root / "agent").glob("phases/*/pid"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(pid.read_text())["pid"], signal.SIGKILL)


@pytest.fixture
def server():
    made = FakeServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def program(tmp_path, server, terraform):
    made = Program(tmp_path, server)
    made.start()
    yield made
    made.close()


def assert_whole(server: FakeServer, order, lines: int) -> None:
    """Every line once and in order; the server checked the digest when the end came."""
    text = server.log(order).text()
    said = [
        int(line.rsplit("number ", 1)[1])
        for line in text.splitlines()
        if "local-exec):" in line and "number " in line and "Executing" not in line
    ]
    assert said == list(range(1, lines + 1))
    assert "Apply complete!" in text
    assert server.results[order.lease_id].log_end.sha256 is not None


def test_killed_in_the_middle_of_an_apply_and_started_again(program, server):
    order = program.applying(talking(60, 0.05))
    program.end(signal.SIGKILL)
    there = server.log(order).head.committed
    time.sleep(1)
    assert server.log(order).head.committed == there
    assert program.phase(order).job_is_alive()
    program.start()
    result = program.finished(order)
    assert result.outcome is PhaseOutcome.SUCCEEDED
    assert_whole(server, order, 60)
    assert b"terraform_data" in server.files["state"]
    until(lambda: not program.phase(order).root.exists())
    assert (
        len({each.agent_id for each in server.registrations}) == 2
    )  # None, then the id


def test_a_phase_that_ended_without_its_agent_is_reported(program, server):
    order = program.applying(talking(20, 0.05))
    program.end(signal.SIGKILL)
    until(program.phase(order).result.exists)
    assert b"terraform_data" in server.files["state"], (
        "the job uploads the state itself"
    )
    program.start()
    assert program.finished(order).outcome is PhaseOutcome.SUCCEEDED
    assert_whole(server, order, 20)


def test_killed_again_and_again(program, server):
    order = program.applying(talking(300, 0.02))
    server.log(order).watched = True
    for pause in (0.4, 0.7, 0.3, 0.6, 0.5):
        program.end(signal.SIGKILL)
        program.start()
        until(lambda: "registered" in program.said())
        time.sleep(pause)
    assert program.finished(order).outcome is PhaseOutcome.SUCCEEDED
    assert_whole(server, order, 300)


def test_a_phase_that_died_with_its_agent_is_reported_as_killed(program, server):
    order = program.applying(talking(600, 0.05))
    job = program.phase(order).read_pid()
    program.end(signal.SIGKILL)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: not program.phase(order).job_is_alive())
    program.start()
    result = program.finished(order)
    assert result.outcome is PhaseOutcome.FAILED
    assert "was killed" in result.error
    assert "was killed" in server.log(order).text().splitlines()[-1]


def test_a_cancel_reaches_a_phase_that_was_taken_up(program, server):
    order = program.applying(talking(600, 0.05))
    program.end(signal.SIGKILL)
    program.start()
    until(lambda: "took a phase up again" in program.said())
    server.log(order).command = "cancel"
    assert program.finished(order).outcome is PhaseOutcome.CANCELED


def test_an_end_that_was_reported_before_the_kill_is_no_quarrel(program, server):
    """The agent died between the report and the clearing away."""
    order = program.applying(talking(20, 0.05))
    program.end(signal.SIGKILL)
    phase = program.phase(order)
    until(phase.result.exists)
    until(lambda: not phase.job_is_alive())
    kept = program.root / "kept"
    subprocess.run(["cp", "-a", phase.root, kept], check=True)
    program.start()
    program.finished(order)
    until(lambda: not phase.root.exists())
    program.end(signal.SIGKILL)
    kept.rename(phase.root)
    server.hand_over(order)  # after the end the log is the server's
    calls = server.finish_calls
    program.start()
    until(lambda: server.finish_calls == calls + 1)
    until(lambda: not phase.root.exists())
    assert not list((program.root / "agent" / "phases-fenced").iterdir())


def test_sigint_leaves_at_once_and_says_so(program, server):
    order = program.applying(talking(40, 0.05))
    before = time.monotonic()
    assert program.end(signal.SIGINT) == 0
    assert time.monotonic() - before < 3
    assert "taken up by the next start" in program.said()
    assert order.task_id in program.said()
    assert program.phase(order).job_is_alive()
    program.start()
    assert program.finished(order).outcome is PhaseOutcome.SUCCEEDED
    assert_whole(server, order, 40)


def test_sigterm_waits_and_a_second_one_leaves(program, server):
    order = program.applying(talking(60, 0.05))
    program.child.send_signal(signal.SIGTERM)
    until(lambda: "draining" in program.said())
    time.sleep(0.5)
    assert program.child.poll() is None
    assert program.end(signal.SIGTERM) == 0
    assert program.phase(order).job_is_alive()
    program.start()
    until(lambda: "registered" in program.said())
    program.child.send_signal(signal.SIGTERM)  # even an agent that drains reports it
    assert program.child.wait(60) == 0
    assert server.results[order.lease_id].outcome is PhaseOutcome.SUCCEEDED
    assert_whole(server, order, 60)


def test_a_refused_token_is_one_line_and_an_exit_code(server, tmp_path):
    env = {
        **os.environ,
        "SLUICE_URL": server.url,
        "SLUICE_POOL_TOKEN": "wrong",
        "SLUICE_AGENT_DATA_DIR": str(tmp_path / "agent"),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    told = subprocess.run(
        [sys.executable, "-m", "sluice", "agent"],
        env=env,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert told.returncode == 4
    lines = told.stderr.decode().strip().splitlines()
    assert len(lines) == 1
    assert "pool token" in lines[0]


# --- folders ------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path)
    made.create()
    return made


def test_a_phase_that_never_began_is_left_to_its_lease(folders):
    order = order_for()
    phase = PhaseDir(folders.phases / order.lease_id)
    phase.create(order)
    assert find_phases(folders) == []
    assert not phase.root.exists()


def test_an_order_on_disk_has_no_secrets(folders):
    order = order_for()
    phase = PhaseDir(folders.phases / order.lease_id)
    phase.create(order)
    assert order.task_token not in phase.order.read_text()


def test_a_folder_without_an_order_is_put_away_for_a_while(folders):
    broken = folders.phases / "lease-broken"
    (broken / "work").mkdir(parents=True)
    (broken / "order.json").write_text("{")
    assert find_phases(folders) == []
    away = folders.fenced / "lease-broken"
    assert (away / "why.txt").read_text() == "there is no order in it\n"
    assert not (away / "work").exists()
    sweep(folders, keep_days=1, clock=SystemClock())
    assert away.exists()
    sweep(folders, keep_days=0, clock=SystemClock())
    assert not away.exists()


def test_putting_away_twice_keeps_the_newer(folders):
    for word in ("one", "two"):
        phase = PhaseDir(folders.phases / "lease-1")
        phase.root.mkdir()
        put_away(phase, folders, why=word)
    assert (folders.fenced / "lease-1" / "why.txt").read_text() == "two\n"
