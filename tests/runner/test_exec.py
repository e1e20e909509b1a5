"""`sluice exec` on this machine: exit codes, output, signals, terminals, and no server at all."""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sluice.runner.job_spec import JobResult
from sluice.wire.agent import PhaseOutcome
from sluice.wire.chunk import Kind, Source
from sluice.wire.events import StageBegin, StageEnd
from sluice.wire.script_mark import mark_of
from tests.runner.agent_server import until
from tests.runner.exec_world import (
    NOBODY,
    ExecWorld,
    all_gone,
    ended,
    read_until,
)


@pytest.fixture
def world(tmp_path: Path) -> ExecWorld:
    """A server is named, and nobody is there."""
    return ExecWorld(
        tmp_path,
        url=NOBODY,
        token="user-token-1234",
        settings={"SLUICE_TASK_ID": "task-1", "SLUICE_DRAIN_TIMEOUT": "0"},
    )


@pytest.fixture
def alone(tmp_path: Path) -> ExecWorld:
    """No settings at all."""
    return ExecWorld(tmp_path)


def result_of(world: ExecWorld) -> JobResult:
    result = world.kept().phase.read_result()
    assert result is not None
    return result


# --- exit codes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "code", "outcome"),
    [
        (["true"], 0, PhaseOutcome.SUCCEEDED),
        (["sh", "-c", "exit 3"], 3, PhaseOutcome.FAILED),
        (["sh", "-c", "exit 255"], 255, PhaseOutcome.FAILED),
        (["sh", "-c", "kill -9 $$"], 137, PhaseOutcome.FAILED),
        (["sh", "-c", "kill -TERM $$"], 143, PhaseOutcome.FAILED),
        (["/no/such/script.sh"], 127, PhaseOutcome.FAILED),
        (["/etc/passwd"], 126, PhaseOutcome.FAILED),
    ],
)
def test_the_exit_code_is_the_scripts_own(
    world: ExecWorld, argv: list[str], code: int, outcome: PhaseOutcome
) -> None:
    done = world.run("--", *argv)
    assert done.returncode == code, done.stderr
    result = result_of(world)
    assert (result.outcome, result.exit_code) == (outcome, code)
    assert done.stderr.decode().splitlines()[-1].startswith("sluice: not everything")


def test_what_cannot_be_started_is_explained(world: ExecWorld) -> None:
    done = world.run("--", "/no/such/script.sh", "x")
    assert b"there is no /no/such/script.sh on this machine" in done.stderr
    assert "there is no /no/such/script.sh on this machine" in result_of(world).error
    assert "there is no /no/such/script.sh" in world.log()


def test_nothing_to_run_is_a_usage_error(alone: ExecWorld) -> None:
    done = alone.run("--task-id", "t")
    assert done.returncode == 2
    assert b"There is nothing to run" in done.stderr


def test_options_behind_the_script_are_the_scripts(alone: ExecWorld) -> None:
    done = alone.run("echo", "--task-id", "x", "-v", "--", "y")
    assert done.stdout == b"--task-id x -v -- y\n"


# --- what is said --------------------------------------------------------------


def test_without_settings_it_runs_the_script_and_says_so_once(alone: ExecWorld) -> None:
    done = alone.run("--", "sh", "-c", "echo out; echo err >&2; kill -USR1 $$")
    assert done.returncode == 138
    assert done.stdout == b"out\n"
    said = done.stderr.decode().splitlines()
    assert len(said) == 2
    assert said[0].startswith("sluice: no server is set (SLUICE_URL and SLUICE_TOKEN")
    assert said[1] == "err"
    assert not alone.spools.exists()


def test_without_a_task_it_says_so(world: ExecWorld) -> None:
    del world.settings["SLUICE_TASK_ID"]
    done = world.run("--", "true")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no task is named (--task-id or SLUICE_TASK_ID)" in done.stderr


def test_a_task_id_that_cannot_be_is_named_and_the_script_runs(
    world: ExecWorld,
) -> None:
    done = world.run("--task-id", "../x", "--", "sh", "-c", "exit 9")
    assert done.returncode == 9
    assert b"'../x' cannot be the id of a task" in done.stderr


def test_a_bad_setting_is_named_and_the_script_runs(alone: ExecWorld) -> None:
    done = alone.run("--", "sh", "-c", "exit 9", KERUTA_LOG_BUFFER_SIZE="lots")
    assert done.returncode == 9
    assert b"sluice: KERUTA_LOG_BUFFER_SIZE is not taken: " in done.stderr


def test_a_bad_option_is_refused(alone: ExecWorld) -> None:
    done = alone.run("--log-level", "loud", "--", "echo", "never")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--log-level" in done.stderr


def test_the_last_line_says_how_to_deliver(world: ExecWorld) -> None:
    done = world.run("--", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert done.returncode == 4
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(f"sluice: not everything could be delivered to {NOBODY} (")
    assert f"`sluice exec --deliver {world.kept().root}` delivers it." in last
    assert oct(world.kept().root.stat().st_mode)[-3:] == "700"
    record = world.kept().read_record()
    assert (record.task_id, record.script_path, record.url) == ("task-1", "sh", NOBODY)
    assert record.process_id > 1


def test_no_token_lies_on_the_disk(world: ExecWorld) -> None:
    world.run("--", "echo", "it ran")
    files = [path for path in world.spools.rglob("*") if path.is_file()]
    assert any(b"it ran" in path.read_bytes() for path in files)
    assert not any(b"user-token-1234" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    "settings",
    [{"SLUICE_URL": "http://bad host:x"}, {"SSL_CERT_FILE": "/no/such/file"}],
    ids=["url", "certificates"],
)
def test_no_fault_of_the_delivery_ends_the_script(
    world: ExecWorld, settings: dict[str, str]
) -> None:
    world.settings.update(settings)
    script = "echo out; sleep 2; exit 8"
    done = world.run("--drain-timeout", "5", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (8, b"out\n")
    assert done.stderr.decode().splitlines()[-1].startswith("sluice: ")


# --- output --------------------------------------------------------------------


def test_five_megabytes_are_byte_exact_here_and_in_the_spool(
    world: ExecWorld, tmp_path: Path
) -> None:
    chance = random.Random(7)
    out = chance.randbytes(3_000_000) + b"".join(
        b"line %d\r%d%%\n" % (n, n % 101) for n in range(200_000)
    )
    err = b"\xff\xfe" * 50_000 + b"no newline at the end"
    (tmp_path / "out").write_bytes(out)
    (tmp_path / "err").write_bytes(err)
    assert len(out) > 5_000_000
    done = world.run("--", "sh", "-c", "cat out; cat err >&2; exit 1")
    assert done.returncode == 1
    assert done.stdout == out
    assert done.stderr.startswith(err)
    assert done.stderr.removeprefix(err).startswith(b"sluice: not everything")
    assert world.spooled(Source.STDOUT) == out
    assert world.spooled(Source.STDERR) == err


def test_partial_lines_appear_at_once_and_input_reaches_the_script(
    world: ExecWorld,
) -> None:
    script = "printf 'name? '; read name; printf 'age? ' >&2; read age; echo $name $age"
    with world.start("--", "sh", "-c", script) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        read_until(process.stdout, b"name? ")
        process.stdin.write(b"Ann\n")
        process.stdin.flush()
        read_until(process.stderr, b"age? ")
        process.stdin.write(b"42\n")
        process.stdin.flush()
        assert read_until(process.stdout, b"\n") == b"Ann 42\n"
        assert ended(process) == 0


def test_chunks_bear_marks_and_the_floor(world: ExecWorld) -> None:
    script = "echo '[2/4] Copying'; sleep 0.3; echo done"
    world.run("--log-level", "warning", "--", "sh", "-c", script)
    chunks = world.chunks()
    assert isinstance(chunks[0].event, StageBegin)
    assert isinstance(chunks[-1].event, StageEnd)
    output = [chunk for chunk in chunks if chunk.kind is Kind.OUTPUT]
    for chunk in output:
        mark = mark_of(chunk)
        assert mark is not None
        assert (mark.script_path, mark.floor) == ("sh", "WARN")
        assert mark.process_id == world.kept().read_record().process_id


def test_tokens_and_named_values_are_masked_in_what_is_sent_only(
    world: ExecWorld,
) -> None:
    script = 'echo "$SLUICE_TOKEN $DB_PASSWORD $API_KEY"; echo "$API_KEY" | base64'
    done = world.run(
        "--mask",
        "DB_PASSWORD",
        "--mask",
        "API_KEY",
        "--",
        "sh",
        "-c",
        script,
        DB_PASSWORD="hunter2hunter2",
        API_KEY="0123456789abcdef",
        SLUICE_LOG_MASK="TINY",
        TINY="abc",
    )
    assert done.stdout.startswith(b"user-token-1234 hunter2hunter2 0123456789abcdef\n")
    assert world.spooled().startswith(b"*** *** ***\n")
    assert b"MDEyMzQ1Njc4OWFiY2RlZg" in done.stdout
    assert b"MDEyMzQ1Njc4OWFiY2RlZg" not in world.spooled()
    assert "1 sensitive value(s) of less than 4 characters" in world.log()


def test_streaming_can_be_switched_off(world: ExecWorld) -> None:
    done = world.run("--disable-log-streaming", "--", "sh", "-c", "echo out; exit 2")
    assert (done.returncode, done.stdout) == (2, b"out\n")
    assert world.spooled() == b""
    assert "Log streaming is off" in world.log()
    assert result_of(world).exit_code == 2


def test_whoever_stops_reading_does_not_stop_the_script(world: ExecWorld) -> None:
    with world.start("--", "sh", "-c", "seq 1 200000; echo end >&2") as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        assert ended(process) == 0
    lines = world.spooled(Source.STDOUT).splitlines()
    assert len(lines) == 200_000


def test_a_slow_reader_makes_the_script_wait_and_a_time_out_still_works(
    world: ExecWorld,
) -> None:
    world.settings["SLUICE_EXEC_GRACE_SECONDS"] = "1"
    with world.start("--timeout", "3", "--", "sh", "-c", "yes") as process:
        assert process.stdout
        # nobody has read yet: what is spooled is bounded by the pipes between
        until(lambda: list(world.spools.glob("*/result.json")), 60)
        assert process.poll() is None  # what was printed waits for its reader
        read = len(process.stdout.read())
        assert ended(process) == 130
    assert read == len(world.spooled()) < 16_000_000


# --- where it runs -------------------------------------------------------------


def test_environment_directory_and_task_id(world: ExecWorld, tmp_path: Path) -> None:
    done = world.run(
        "--task-id",
        "other",
        "--work-dir",
        str(tmp_path / "a" / "b"),
        "--",
        "sh",
        "-c",
        'pwd; echo "$SLUICE_TASK_ID $KERUTA_TASK_ID $MINE $SLUICE_URL"',
        MINE="yes",
    )
    assert done.stdout.decode().splitlines() == [
        str(tmp_path / "a" / "b"),
        f"other other yes {NOBODY}",
    ]


def test_a_time_out_is_said_and_the_code_is_still_the_scripts(world: ExecWorld) -> None:
    done = world.run(
        "--timeout", "2", "--", "sh", "-c", "trap 'exit 77' INT; sleep 600"
    )
    assert done.returncode == 77
    assert b"sluice: The script sh timed out after 2 s." in done.stderr
    result = result_of(world)
    assert (result.outcome, result.exit_code) == (PhaseOutcome.FAILED, 77)
    assert result.error == "The script sh timed out after 2 s."
    assert "The script timed out after 2 s: interrupt sent" in world.log()


def test_where_home_cannot_be_written_another_place_is_found(
    world: ExecWorld, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").touch()
    done = world.run(
        "--",
        "echo",
        "out",
        XDG_STATE_HOME=str(tmp_path / "file"),
        TMPDIR=str(tmp_path / "tmp"),
    )
    assert done.returncode == 0
    (found,) = (tmp_path / "tmp").glob("sluice-exec-*/run.json")
    assert f"--deliver {found.parent}`".encode() in done.stderr


# --- signals -------------------------------------------------------------------


TRAPPING = """
for name in TERM INT HUP QUIT USR1 USR2; do
    trap "echo got $name; got=$name" $name
done
echo ready $$
while [ -z "$got" ]; do sleep 0.1; done
exit 40
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ],
)
def test_signals_are_passed_on(world: ExecWorld, number: signal.Signals) -> None:
    with world.start("--", "sh", "-c", TRAPPING) as process:
        assert process.stdout
        read_until(process.stdout, b"ready")
        process.send_signal(number)
        name = number.name.removeprefix("SIG").encode()
        read_until(process.stdout, b"got " + name)
        assert ended(process) == 40


def test_a_script_that_dies_of_a_signal_passed_on(world: ExecWorld) -> None:
    script = "sleep 600 & echo ready $$ $!; wait"
    with world.start("--", "sh", "-c", script) as process:
        assert process.stdout
        words = read_until(process.stdout, b"\n").split()
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 143
    all_gone([int(words[1]), int(words[2])])
    assert result_of(world).error == (
        "The script sh was ended by SIGTERM, which `sluice exec` was sent."
    )


def test_what_nohup_ignores_is_ignored(world: ExecWorld) -> None:
    script = "echo ready; sleep 1; echo survived"
    process = subprocess.Popen(
        ["nohup", *world.argv("--", "sh", "-c", script)],
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout
        read_until(process.stdout, b"ready")
        process.send_signal(signal.SIGHUP)
        read_until(process.stdout, b"survived")
        assert ended(process) == 0


def test_a_signal_while_delivering_ends_it_with_the_scripts_code(
    world: ExecWorld,
) -> None:
    with world.start(
        "--drain-timeout", "600", "--", "sh", "-c", "echo out; exit 5"
    ) as process:
        until(lambda: list(world.spools.glob("*/result.json")), 60)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 5
    assert world.spooled() == b"out\n"


# --- terminals -----------------------------------------------------------------


def in_a_terminal(world: ExecWorld, *arguments: str) -> tuple[int, int]:
    """Start in a terminal of its own, as a shell would; process id and the other end."""
    pid, terminal = os.forkpty()
    if pid == 0:
        os.chdir(world.root)
        os.execvpe(sys.executable, world.argv(*arguments), world.env())
    return pid, terminal


def read_terminal(terminal: int, wanted: bytes) -> bytes:
    got = b""
    deadline = time.monotonic() + 60
    while wanted not in got:
        assert time.monotonic() < deadline, got
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                got += os.read(terminal, 65536)
            except OSError:
                raise AssertionError(f"ended before {wanted!r}: {got!r}") from None
    return got


def exit_code(pid: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("it did not end")


def test_keys_reach_the_script_in_a_terminal(alone: ExecWorld) -> None:
    script = (
        "trap 'echo interrupted; exit 50' INT\n"
        "printf 'say: '; read word; echo \"said $word\"\n"
        # Not one long sleep: the key may come between the shell's fork and its exec,
        # and a shell waits for its child before it runs its trap.
        "while :; do sleep 0.1; done"
    )
    pid, terminal = in_a_terminal(alone, "--", "sh", "-c", script)
    try:
        read_terminal(terminal, b"say: ")
        os.write(terminal, b"hello\n")
        read_terminal(terminal, b"said hello")
        os.write(terminal, b"\x03")
        got = read_terminal(terminal, b"interrupted")
        assert got.count(b"interrupted") == 1
        assert exit_code(pid) == 50
    finally:
        os.close(terminal)


def test_stopping_and_going_on_in_a_terminal(alone: ExecWorld) -> None:
    script = "echo ready; read a; echo got $a; exit 3"
    pid, terminal = in_a_terminal(alone, "--", "sh", "-c", script)
    try:
        read_terminal(terminal, b"ready")
        os.write(terminal, b"\x1a")
        until(lambda: os.waitpid(pid, os.WNOHANG | os.WUNTRACED) != (0, 0), 60)
        os.kill(pid, signal.SIGCONT)
        os.write(terminal, b"again\n")
        read_terminal(terminal, b"got again")
        assert exit_code(pid) == 3
    finally:
        os.close(terminal)


# --- as the first process of a container ----------------------------------------


def first_process(world: ExecWorld, script: str) -> list[str]:
    """The command line that runs ``sluice exec`` as process 1 of a namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a PID namespace takes root and `unshare`")
    command = ["unshare", "--fork", "--pid", "--mount-proc"]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no PID namespace can be made here: {probe.stderr!r}")
    return [*command, *world.argv("--", "sh", "-c", script)]


def test_as_first_process_it_reaps_what_it_adopts(world: ExecWorld) -> None:
    # twenty processes whose parent ends before they do
    script = (
        "cat /proc/1/cmdline | tr '\\0' ' '; echo\n"
        "for i in $(seq 20); do sh -c '(sleep 0.2) & exit 0'; done\n"
        "n=0\n"
        "while [ $n -lt 200 ] && "
        "ls -d /proc/[0-9]* | wc -l | { read c; [ $c -gt 6 ]; }; do\n"
        "  sleep 0.1; n=$((n+1))\n"
        "done\n"
        "grep -l '^State:.Z' /proc/[0-9]*/status; echo zombies $?; exit 21"
    )
    done = subprocess.run(
        first_process(world, script),
        env=world.env(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 21, done.stderr
    assert b"sluice exec" in done.stdout.splitlines()[0]
    assert b"zombies 1\n" in done.stdout, done.stdout


def test_as_first_process_it_passes_signals_on(world: ExecWorld) -> None:
    process = subprocess.Popen(
        first_process(
            world,
            "trap 'echo got it; exit 33' TERM; echo ready; while :; do sleep 0.1; done",
        ),
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        read_until(process.stdout, b"ready")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (first,) = children.read_text().split()
        os.kill(int(first), signal.SIGTERM)
        read_until(process.stdout, b"got it")
        assert ended(process) == 33
