"""`sluice exec` against a real server: begin to end, away and back, canceled, killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, Viewer, output_of, wait_for
from tests.runner.exec_world import ExecWorld, all_gone, ended, read_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"
MARKER = b"========== RUNNING "


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("server"))
    try:
        made.start_server()
        yield made
    finally:
        made.close()


@pytest.fixture
def server(stack: Stack) -> Stack:
    """The server, up: a test may have stopped it."""
    assert stack.server is not None
    if stack.server.child.poll() is not None:
        stack.start_server()
    return stack


@pytest.fixture
def world(server: Stack, tmp_path: Path) -> ExecWorld:
    return ExecWorld(
        tmp_path,
        url=server.url,
        token=server.token,
        settings={"SLUICE_ORGANIZATION": server.organization},
    )


def task_id() -> str:
    return f"exec-{os.getpid()}-{time.monotonic_ns()}"


def script_lines(raw: bytes) -> bytes:
    """A log without what the platform wrote."""
    lines = raw.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(MARKER))


def test_begin_to_end(server: Stack, world: ExecWorld) -> None:
    task = task_id()
    done = world.run(
        "--task-id", task, "--", "sh", "-c", "echo out; echo '[1/2] half'; exit 5"
    )
    assert (done.returncode, done.stdout) == (5, b"out\n[1/2] half\n")
    assert done.stderr == b""
    shown = server.get(f"/tasks/{task}")
    assert (shown["status"], shown["exit_code"]) == ("failed", 5)
    assert shown["error"] == "The script sh failed with exit code 5"
    assert [stage["name"] for stage in shown["stages"]] == ["running"]
    assert not list(world.spools.iterdir())
    raw = server.raw(task)
    assert script_lines(raw).startswith(b"out\n[1/2] half\n")
    records = server.get(f"/tasks/{task}/logs?format=records&source=stdout")
    assert [record["message"] for record in records["content"]] == [
        "out",
        "[1/2] half",
    ]
    assert {record["metadata"]["scriptPath"] for record in records["content"]} == {"sh"}


def test_five_megabytes_are_the_scripts_own(
    server: Stack, world: ExecWorld, tmp_path: Path
) -> None:
    content = b"".join(b"line %d %s\n" % (n, b"x" * (n % 97)) for n in range(95_000))
    assert len(content) > 5_000_000
    (tmp_path / "content").write_bytes(content)
    task = task_id()
    done = world.run("--task-id", task, "--", "cat", "content")
    assert done.returncode == 0
    assert done.stdout == content
    assert script_lines(server.raw(task)) == content
    assert server.get(f"/tasks/{task}")["status"] == "success"


def test_the_installer_is_watched_live(
    server: Stack, world: ExecWorld, tmp_path: Path
) -> None:
    task = task_id()
    environment = {"PREFIX": str(tmp_path / "prefix"), "PACE": "0.02"}
    arguments = ("--task-id", task, "--", str(EXAMPLES / "install-package.sh"))
    with world.start(*arguments, **environment) as process:
        assert process.stdout
        first = read_until(process.stdout, b"[1/7]")
        viewer = Viewer(server, task)
        wait_for("the task", lambda: server.request("GET", f"/tasks/{task}").is_success)
        viewer.start()
        printed = first + process.stdout.read()
        assert ended(process) == 0
    viewer.join(60)
    assert viewer.failure == ""
    assert viewer.completed == "success"
    assert viewer.output() == printed
    assert output_of(server.raw(task), viewer) == printed


def test_away_from_start_to_end_then_delivered(
    server: Stack, world: ExecWorld, tmp_path: Path
) -> None:
    assert server.server is not None
    server.server.stop()
    task = task_id()
    done = world.run(
        "--task-id",
        task,
        "--drain-timeout",
        "0.5",
        "--",
        str(EXAMPLES / "failing.sh"),
        PACE="0",
    )
    assert done.returncode == 3
    assert b"`sluice exec --deliver " in done.stderr.splitlines()[-1]
    kept = world.kept()
    delivered = world.run("--deliver", str(kept.root), "--drain-timeout", "1")
    assert delivered.returncode == 7
    assert kept.root.exists()

    server.start_server()
    delivered = world.run("--deliver", str(kept.root))
    assert (delivered.returncode, delivered.stdout) == (
        0,
        f"Delivered {task}.\n".encode(),
    )
    assert not kept.root.exists()
    shown = server.get(f"/tasks/{task}")
    assert (shown["status"], shown["exit_code"]) == ("failed", 3)
    assert "the backup is incomplete" in shown["error"]
    for line in done.stdout.splitlines():
        assert line in server.raw(task)


def test_a_server_that_comes_back_in_time_gets_everything(
    server: Stack, world: ExecWorld
) -> None:
    assert server.server is not None
    task = task_id()
    script = "seq 1 1000; read go; seq 1001 2000"
    patient = ("--task-id", task, "--drain-timeout", "240")
    with world.start(*patient, "--", "sh", "-c", script) as process:
        assert process.stdin
        assert process.stdout
        wait_for("the task", lambda: server.request("GET", f"/tasks/{task}").is_success)
        server.server.stop()
        process.stdin.write(b"on\n")
        process.stdin.flush()
        read_until(process.stdout, b"\n2000\n")
        server.start_server()
        assert ended(process, 200) == 0
    assert script_lines(server.raw(task)) == b"".join(
        b"%d\n" % number for number in range(1, 2001)
    )
    assert server.get(f"/tasks/{task}")["status"] == "success"


@pytest.mark.parametrize("force", [False, True], ids=["cancel", "force-cancel"])
def test_a_cancel_on_the_server_stops_the_script(
    server: Stack, world: ExecWorld, *, force: bool
) -> None:
    task = task_id()
    trap = "trap '' INT TERM" if force else "trap 'echo cleaned; exit 9' INT"
    script = f"{trap}; echo ready $$; while :; do sleep 0.1; done"
    with world.start("--task-id", task, "--", "sh", "-c", script) as process:
        assert process.stdout
        pid = int(read_until(process.stdout, b"\n").split()[1])
        wait_for("the task", lambda: server.request("GET", f"/tasks/{task}").is_success)
        server.post(f"/tasks/{task}/cancel", {"reason": "enough"})
        if force:
            wait_for(
                "force-cancel to be possible",
                lambda: (
                    server.request(
                        "POST", f"/tasks/{task}/force-cancel", json={}
                    ).is_success
                ),
            )
        assert ended(process) == (137 if force else 9)
    all_gone([pid])
    shown = server.get(f"/tasks/{task}")
    assert shown["status"] == "canceled"
    assert shown["exit_code"] == (137 if force else 9)


def test_a_killed_runner_leaves_what_can_be_delivered(
    server: Stack, world: ExecWorld
) -> None:
    task = task_id()
    script = "echo ready $$; read never; sleep 600"
    with world.start("--task-id", task, "--", "sh", "-c", script) as process:
        assert process.stdout
        pid = int(read_until(process.stdout, b"\n").split()[1])
        wait_for("the task", lambda: server.request("GET", f"/tasks/{task}").is_success)
        wait_for("the first line", lambda: b"ready" in server.raw(task))
        process.send_signal(signal.SIGKILL)
        ended(process)
    os.killpg(pid, signal.SIGKILL)
    assert world.run("--deliver", str(world.spools)).returncode == 0
    shown = server.get(f"/tasks/{task}")
    assert shown["status"] == "failed"
    assert "The runner was killed before the script ended" in shown["error"]
    assert b"ready" in server.raw(task)


def test_a_task_that_another_run_holds_does_not_fail_the_script(
    server: Stack, world: ExecWorld
) -> None:
    task = task_id()
    with world.start("--task-id", task, "--", "sh", "-c", "read go") as first:
        assert first.stdin
        wait_for("the task", lambda: server.request("GET", f"/tasks/{task}").is_success)
        done = world.run("--task-id", task, "--", "sh", "-c", "echo second; exit 4")
        assert done.returncode == 4
        assert b"is held by" in done.stderr
        first.stdin.close()
        assert ended(first) == 1
    assert b"second" not in server.raw(task)


def test_a_pools_token_is_enough(server: Stack, world: ExecWorld) -> None:
    pools = server.get(f"/organizations/{server.organization}/pools")
    pools = pools if isinstance(pools, list) else pools["pools"]
    made = server.post(f"/pools/{pools[0]['id']}/tokens", {"name": "exec"})
    world.token = made["token"]
    world.settings = {}
    task = task_id()
    done = world.run("--task-id", task, "--", "sh", "-c", "echo $SLUICE_TOKEN; exit 2")
    assert (done.returncode, done.stderr) == (2, b"")
    assert made["token"].encode() not in server.raw(task)
    assert server.get(f"/tasks/{task}")["exit_code"] == 2


def test_without_streaming_begin_and_end_are_there(
    server: Stack, world: ExecWorld
) -> None:
    task = task_id()
    done = world.run(
        "--task-id",
        task,
        "--",
        "sh",
        "-c",
        "echo not sent; exit 6",
        KERUTA_LOG_STREAMING_ENABLED="false",
    )
    assert (done.returncode, done.stdout) == (6, b"not sent\n")
    assert server.get(f"/tasks/{task}")["exit_code"] == 6
    assert b"not sent\n" not in server.raw(task)


def test_the_floor_is_for_live_viewers_only(server: Stack, world: ExecWorld) -> None:
    task = task_id()
    script = "echo '[DEBUG] small'; echo '[ERROR] big'"
    world.run("--task-id", task, "--log-level", "WARN", "--", "sh", "-c", script)
    records = server.get(f"/tasks/{task}/logs?format=records&source=stdout")
    assert [record["level"] for record in records["content"]] == ["DEBUG", "ERROR"]


def test_the_program_starts_without_the_servers_packages(tmp_path: Path) -> None:
    """A job's image has the agent's packages only."""
    code = (
        "import sys\n"
        "import sluice.runner.exec_commands, sluice.runner.exec_delivery\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in"
        " {'sqlalchemy', 'starlette', 'fastapi', 'uvicorn'}]\n"
        "print(bad)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path
    )
    assert done.stdout == b"[]\n", done
