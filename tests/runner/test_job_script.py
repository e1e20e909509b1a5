"""Scripts as phases: real processes, their exit codes, time, secrets, marks and progress."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sluice.runner.agent import Agent
from sluice.runner.job_spec import JobLimits, JobResult, JobSpec
from sluice.runner.job_start import start_job
from sluice.runner.last_error import LastError
from sluice.runner.phase_dir import CancelKind, CancelRequest, PhaseDir
from sluice.runner.settings import load_settings
from sluice.runner.spool import SpoolReader
from sluice.runner.spool_records import segment_chunks
from sluice.wire.agent import LogPosition, PhaseName, PhaseOutcome, ScriptOrder
from sluice.wire.chunk import MAX_CATCH_UP, MAX_LIVE, Chunk, Kind, Source
from sluice.wire.events import Note, Stage, StageBegin, StageEnd, StageOutcome
from sluice.wire.script_mark import ScriptMark, mark_after, mark_of
from tests.runner.agent_server import (
    POOL_TOKEN,
    FakeServer,
    order_for,
    until,
    until_async,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"
BASE = LogPosition(epoch=1, offset=0, next_line=1)


@dataclass
class ScriptPhase:
    """A script's phase directory under ``root``, and what its job left there."""

    root: Path
    script: ScriptOrder
    limits: JobLimits = field(
        default_factory=lambda: JobLimits(
            plan_grace=1.0, terminate_grace=1.0, drain_grace=1.0
        )
    )
    inherited: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.order = order_for(PhaseName.SCRIPT, script=self.script)
        self.dir = PhaseDir(self.root / self.order.lease_id)

    def start(self) -> None:
        spec = JobSpec(
            order=self.order,
            server_url="http://127.0.0.1:9",  # nobody listens: a script needs no server
            environment=self.inherited,
            state_kept_dir=str(self.root / "state-kept"),
            limits=self.limits,
        )
        self.dir.create(self.order)
        self.process = start_job(self.dir, spec)

    def finish(self) -> JobResult:
        assert self.process.wait(60) == 0, self.dir.job_log.read_text()
        result = self.dir.read_result()
        assert result is not None
        return result

    def run(self) -> JobResult:
        self.start()
        return self.finish()

    def chunks(self, limit: int = 4 * 1024 * 1024, merge: int = MAX_LIVE):
        """The chunks as an uplink sends them."""
        reader = SpoolReader(self.dir.spool, BASE)
        chunks: list[Chunk] = []
        reader.refresh()
        while more := reader.read(limit, merge_to=merge):
            chunks += more
            reader.refresh()
        reader.close()
        return chunks

    def records(self) -> list[Chunk]:
        """The output as the job wrote it."""
        segments = sorted(self.dir.spool.glob("seg-*"))
        chunks = [chunk for path in segments for chunk in segment_chunks(path)]
        return [chunk for chunk in chunks if chunk.kind is Kind.OUTPUT]

    def output(self, source: Source | None = None) -> bytes:
        return b"".join(
            chunk.data
            for chunk in self.chunks()
            if chunk.kind is Kind.OUTPUT and source in {None, chunk.source}
        )

    def text(self) -> str:
        return b"".join(chunk.data for chunk in self.chunks()).decode()

    def wait_for(self, text: bytes) -> None:
        until(lambda: self.dir.spool.exists() and text in self.output(), 30)


NewScript = Callable[..., ScriptPhase]


@pytest.fixture
def new_script(tmp_path: Path) -> NewScript:
    def make(body: str = "", **fields) -> ScriptPhase:
        phase = {
            key: fields.pop(key) for key in ("limits", "inherited") if key in fields
        }
        order = ScriptOrder(**{"name": "test", "body": body, **fields})
        return ScriptPhase(tmp_path, order, **phase)

    return make


def example(name: str) -> str:
    return (EXAMPLES / name).read_text()


# --- the registered examples ---------------------------------------------------


def test_the_package_installer_succeeds_step_by_step(
    new_script: NewScript, tmp_path: Path
) -> None:
    prefix = tmp_path / "prefix"
    phase = new_script(
        example("install-package.sh"),
        name="install-package.sh",
        environment={
            "VERSION": "2.0.1",
            "PREFIX": str(prefix),
            "LICENSE_KEY": "key-9f8e7d6c",
            "PACE": "0.01",
        },
        sensitive=["LICENSE_KEY"],
    )
    result = phase.run()

    assert result.outcome is PhaseOutcome.SUCCEEDED, phase.text()
    assert (result.exit_code, result.error) == (0, "")
    assert [report.stage for report in result.stages] == [Stage.RUNNING]
    steps = [line for line in phase.output().splitlines() if line.startswith(b"[")]
    assert len(steps) == 7
    assert steps[0] == b"[1/7] Checking the machine"
    assert b"SUCCESS: hello 2.0.1 is installed in " in phase.output()
    assert b"licence key ***\n" in phase.output()
    assert "key-9f8e7d6c" not in phase.text()
    assert 'license_key = "key-9f8e7d6c"' in (prefix / "etc/hello.conf").read_text()
    assert not phase.dir.work.exists()
    last = last_mark(phase)
    assert (last.current_step, last.total_steps, last.step) == (7, 7, "Trying it")


def test_the_failing_example_says_why(new_script: NewScript, tmp_path: Path) -> None:
    phase = new_script(
        example("failing.sh"),
        name="failing.sh",
        environment={"TARGET": str(tmp_path / "restored"), "PACE": "0.01"},
    )
    result = phase.run()

    assert result.outcome is PhaseOutcome.FAILED
    assert result.exit_code == 3
    assert result.error.startswith(
        "The script failing.sh failed with exit code 3: ERROR: the backup is incomplete;"
    )
    assert result.error in phase.text()
    assert [report.outcome for report in result.stages] == [StageOutcome.FAILED]
    assert b"unexpected end of file" in phase.output(Source.STDERR)
    assert not (tmp_path / "restored").exists()
    assert last_mark(phase).current_step == 3


# --- how it is run -------------------------------------------------------------


def test_interpreter_parameters_and_directory(new_script: NewScript) -> None:
    body = (
        "import os, sys\n"
        "print(sys.argv[0] == os.path.join(os.getcwd(), 'a_b.py'), sys.flags.isolated)\n"
        "print(os.environ['GREETING'], os.environ['SLUICE_TASK_ID'])\n"
        "print(os.environ.get('SLUICE_POOL_TOKEN'), os.environ['FROM_AGENT'])\n"
        "print(oct(os.stat('.').st_mode)[-3:], oct(os.stat('a_b.py').st_mode)[-3:])\n"
        "print(os.getpgrp() == os.getpid(), repr(sys.stdin.read()))\n"
    )
    inherited = {
        "PATH": os.environ["PATH"],
        "SLUICE_POOL_TOKEN": "never",
        "FROM_AGENT": "yes",
    }
    phase = new_script(
        body,
        name="a b.py",
        interpreter=["python3", "-I"],
        environment={"GREETING": "; rm -rf $(pwd) 'é"},
        inherited=inherited,
    )
    result = phase.run()
    assert result.exit_code == 0, phase.text()
    assert phase.output().decode().splitlines() == [
        "True 1",
        f"; rm -rf $(pwd) 'é {phase.order.task_id}",
        "None yes",
        "700 700",
        "True ''",
    ]


def test_a_script_that_lies_on_the_agent(new_script: NewScript, tmp_path: Path) -> None:
    file = tmp_path / "here.sh"
    file.write_text("#!/bin/sh\necho from $0; pwd\n")
    file.chmod(0o755)
    phase = new_script(path=str(file))
    assert phase.run().exit_code == 0, phase.text()
    assert phase.output().decode() == f"from {file}\n{phase.dir.work}\n"
    assert file.exists()
    (output,) = [chunk for chunk in phase.chunks() if chunk.kind is Kind.OUTPUT]
    mark = mark_of(output)
    assert mark is not None
    assert mark.script_path == str(file)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "/nowhere/x.sh"}, "there is no file /nowhere/x.sh. Put it there"),
        ({"path": "x.sh"}, "needs an absolute path"),
        ({"body": "echo no interpreter\n"}, "does not begin with `#!`"),
        ({"body": "#!/no/such/sh\n"}, "the interpreter in the first line of"),
        ({"body": "#!/bin/sh\r\necho\r\n"}, "that line ends as on Windows"),
        (
            {"body": "x", "interpreter": ["no-such-shell"]},
            "there is no no-such-shell on this machine",
        ),
        (
            {"body": "#!/bin/sh\n", "environment": {"P": "a\0b"}},
            "cannot be an environment variable",
        ),
    ],
    ids=["no-file", "relative", "no-interpreter", "gone", "crlf", "unknown", "nul"],
)
def test_what_cannot_be_run_is_explained(
    new_script: NewScript, fields: dict[str, object], words: str
) -> None:
    phase = new_script(**fields)
    result = phase.run()
    assert result.outcome is PhaseOutcome.FAILED
    assert words in result.error
    assert result.exit_code is None
    assert result.error in phase.text()
    assert events(phase)[-1].outcome is StageOutcome.FAILED
    assert not phase.dir.work.exists()


def test_an_order_without_its_script_fails_in_words(
    new_script: NewScript,
) -> None:
    phase = new_script("#!/bin/sh\n")
    phase.order = phase.order.model_copy(update={"script": None})
    result = phase.run()
    assert (result.outcome, result.exit_code) == (PhaseOutcome.FAILED, None)
    assert "names no script" in result.error


def test_the_order_on_disk_has_no_script(new_script: NewScript) -> None:
    phase = new_script(
        "#!/bin/sh\n", environment={"P": "s3cret-value"}, sensitive=["P"]
    )
    phase.run()
    kept = b"".join(
        path.read_bytes() for path in phase.dir.root.rglob("*") if path.is_file()
    )
    assert b"s3cret-value" not in kept


def test_a_script_killed_by_another_is_named(new_script: NewScript) -> None:
    result = new_script("#!/bin/sh\nkill -9 $$\n").run()
    assert result.exit_code == 128 + signal.SIGKILL
    assert "was killed by SIGKILL, not by Sluice" in result.error


# --- time and cancelling -------------------------------------------------------


STUBBORN = """#!/bin/sh
trap '' INT TERM
sh -c 'trap "" INT TERM; echo child $$; while :; do sleep 0.2; done' &
echo parent $$
wait
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids(phase: ScriptPhase) -> list[int]:
    return [int(line.split()[1]) for line in phase.output().splitlines()]


def test_a_time_out_stops_the_whole_group_and_says_so(new_script: NewScript) -> None:
    limits = JobLimits(plan_grace=0.3, terminate_grace=0.3, drain_grace=1.0)
    phase = new_script(STUBBORN, timeout_seconds=3, limits=limits)
    result = phase.run()
    assert result.outcome is PhaseOutcome.FAILED
    assert result.error == "The script test timed out after 3 s."
    assert result.exit_code == 128 + signal.SIGKILL
    text = phase.text()
    assert "The script timed out after 3 s: interrupt sent;" in text
    assert "terminate sent" in text
    assert "the processes were killed" in text
    assert len(pids(phase)) == 2
    until(lambda: not any(map(alive, pids(phase))), 30)


def test_a_script_in_time_is_left_alone(new_script: NewScript) -> None:
    phase = new_script("#!/bin/sh\nsleep 0.2\n", timeout_seconds=60)
    assert phase.run().outcome is PhaseOutcome.SUCCEEDED


def test_a_cancelled_script_may_clean_up(new_script: NewScript) -> None:
    limits = JobLimits(plan_grace=30.0, terminate_grace=5.0, drain_grace=1.0)
    phase = new_script(
        "#!/bin/sh\ntrap 'echo cleaned up; exit 7' INT\necho begun\nwhile :; do sleep 0.1; done\n",
        limits=limits,
    )
    phase.start()
    phase.wait_for(b"begun")
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann: enough"))
    result = phase.finish()
    assert result.outcome is PhaseOutcome.CANCELED
    assert (result.error, result.exit_code) == (
        "The phase was canceled by ann: enough.",
        7,
    )
    assert phase.output() == b"begun\ncleaned up\n"


def test_a_script_that_ends_well_when_interrupted_is_canceled(
    new_script: NewScript,
) -> None:
    limits = JobLimits(plan_grace=30.0, terminate_grace=5.0, drain_grace=1.0)
    phase = new_script(
        "#!/bin/sh\ntrap 'exit 0' INT\necho begun\nwhile :; do sleep 0.1; done\n",
        limits=limits,
    )
    phase.start()
    phase.wait_for(b"begun")
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann"))
    result = phase.finish()
    assert (result.outcome, result.exit_code) == (PhaseOutcome.CANCELED, 0)


def test_a_force_cancel_kills_at_once(new_script: NewScript) -> None:
    limits = JobLimits(plan_grace=600, terminate_grace=600, drain_grace=1.0)
    phase = new_script(STUBBORN, limits=limits)
    phase.start()
    phase.wait_for(b"child")
    phase.wait_for(b"parent")
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann"))
    time.sleep(0.5)
    phase.dir.request_cancel(CancelRequest(CancelKind.FORCE_CANCEL, "by bob"))
    result = phase.finish()
    assert result.outcome is PhaseOutcome.CANCELED
    until(lambda: not any(map(alive, pids(phase))), 30)


def test_a_cancel_before_it_begins(new_script: NewScript) -> None:
    phase = new_script("#!/bin/sh\necho never\n")
    phase.dir.create(phase.order)
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann"))
    result = phase.run()
    assert result.outcome is PhaseOutcome.CANCELED
    assert phase.output() == b""
    assert result.stages == []


# --- what is in the log --------------------------------------------------------


def events(phase: ScriptPhase) -> list:
    return [
        chunk.event
        for chunk in phase.chunks()
        if chunk.kind is Kind.EVENT and not isinstance(chunk.event, Note)
    ]


def last_mark(phase: ScriptPhase) -> ScriptMark:
    """What is known at the end, by the marks alone."""
    chunk = [chunk for chunk in phase.chunks() if chunk.kind is Kind.OUTPUT][-1]
    mark = mark_of(chunk)
    assert mark is not None
    return mark_after(mark, chunk.data)


def test_the_stage_is_marked_and_five_megabytes_are_the_scripts_own(
    new_script: NewScript, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    body = b"".join(b"line %d %s\n" % (n, b"x" * (n % 97)) for n in range(90_000))
    content.write_bytes(body + b"\xff\x00\r50%\r no newline")
    assert content.stat().st_size > 5_000_000
    phase = new_script(f"#!/bin/sh\ncat {content}; echo oops >&2; exit 4\n")
    result = phase.run()
    assert result.exit_code == 4
    assert result.error == "The script test failed with exit code 4: oops"
    assert phase.output(Source.STDOUT) == content.read_bytes()
    assert phase.output(Source.STDERR) == b"oops\n"
    running = Stage.RUNNING
    assert events(phase) == [
        StageBegin(running, "script"),
        StageEnd(running, "script", StageOutcome.FAILED),
    ]


PROGRESS = """#!/bin/sh
echo hello
sleep 0.2
echo '[1/3] Unpacking'
printf '[2/3] Instal'
while [ ! -e go-on ]; do sleep 0.05; done
printf 'ling\n'
sleep 0.2
printf 'half '
sleep 0.4
echo oops >&2
echo '::progress value=50 step=2/3::Copying'
printf '\r51%%\r52%%'
sleep 0.4
printf '\r60%%\n'
sleep 0.2
echo done
"""


def test_each_chunk_says_where_the_script_was(new_script: NewScript) -> None:
    phase = new_script(PROGRESS)
    phase.start()
    phase.wait_for(b"Instal")
    (phase.dir.work / "go-on").touch()
    result = phase.finish()
    assert result.exit_code == 0, phase.text()
    chunks = phase.records()
    marks = [mark_of(chunk) for chunk in chunks]
    assert len(chunks) > 2
    state = ScriptMark()
    seen = []
    for chunk, mark in zip(chunks, marks, strict=True):
        assert mark is not None
        assert (mark.script_path, mark.process_id > 1) == ("test", True)
        assert mark.process_id == marks[0].process_id  # type: ignore[union-attr]
        here = (mark.progress, mark.step, mark.current_step, mark.begun)
        assert here == (state.progress, state.step, state.current_step, state.begun)
        seen.append((mark.step, mark.begun))
        state = mark_after(state, chunk.data)
    assert ("", b"") in seen
    assert ("Unpacking", b"[2/3] Instal") in seen
    assert ("Installing", b"") in seen
    assert (state.progress, state.step) == (60.0, "Copying")


@pytest.mark.parametrize("size", [1, 7, 100, 5000, MAX_CATCH_UP])
def test_marks_stay_true_however_chunks_are_cut_and_joined(
    new_script: NewScript, size: int
) -> None:
    lines = "; ".join(
        f"echo '[{n}/60] step {n}'; echo $((n={n})) text" for n in range(1, 61)
    )
    phase = new_script(f"#!/bin/sh\n{lines}\n")
    assert phase.run().exit_code == 0, phase.text()
    state = ScriptMark()
    whole = b""
    for chunk in phase.chunks(limit=size, merge=size):
        if chunk.kind is Kind.EVENT:
            continue
        mark = mark_of(chunk)
        assert mark is not None
        assert (mark.step, mark.begun) == (state.step, state.begun)
        state = mark_after(state, chunk.data)
        whole += chunk.data
    assert state.step == "step 60"
    assert whole.count(b"\n") == 120


def test_a_note_amid_a_line_ends_that_line_for_the_marks(
    new_script: NewScript,
) -> None:
    limits = JobLimits(plan_grace=30.0, terminate_grace=5.0, drain_grace=1.0)
    phase = new_script(
        "#!/bin/sh\ntrap 'echo [2/2] after; exit 1' INT\n"
        "printf '[1/2] un'\nsleep 600\n",
        limits=limits,
    )
    phase.start()
    phase.wait_for(b"un")
    phase.dir.request_cancel(CancelRequest(CancelKind.CANCEL, "now"))
    phase.finish()
    marks = [mark_of(chunk) for chunk in phase.records()]
    assert [(mark.step, mark.begun) for mark in marks if mark] == [
        ("", b""),
        ("un", b""),
    ]


def test_secrets_are_masked_in_every_form_and_place(new_script: NewScript) -> None:
    secret = "s3cr3t+value/42"
    phase = new_script(
        "#!/bin/sh\n"
        'echo "$PASSWORD"; echo "$PASSWORD" >&2\n'
        "printf 's3cr3t+va'; sleep 0.3; echo 'lue/42'\n"
        'printf "%s" "$PASSWORD" | base64; echo "$OPEN"\n'
        'echo "fatal: $PASSWORD is wrong" >&2; exit 1\n',
        environment={"PASSWORD": secret, "OPEN": "shown-as-it-is"},
        sensitive=["PASSWORD"],
    )
    result = phase.run()
    assert (
        result.error == "The script test failed with exit code 1: fatal: *** is wrong"
    )
    everything = b"".join(
        path.read_bytes() for path in phase.dir.root.rglob("*") if path.is_file()
    )
    assert secret.encode() not in everything
    assert b"c3IzdCt2YWx1" not in everything
    assert b"shown-as-it-is\n" in phase.output()


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n", "two"),
        (b"+ false\n", ""),
        (b"x: error: no\nsee the manual\n", "x: error: no"),
        (b"cannot a\ncannot b\n+ exit 1\n", "cannot b"),
        (b"\x1b[31mfatal\x1b[0m: gone", "fatal: gone"),
        (b"10%\r20%\rfailed\r\n", "failed"),
        (b"errors: none\nlast", "last"),
        (b"\xff error\n", "\ufffd error"),
        (b"error " + b"x" * 99_999, "error " + "x" * 294),
    ],
)
def test_the_line_that_says_why(said: bytes, line: str) -> None:
    for size in (1, 5, 100_000):
        errors = LastError()
        for at in range(0, len(said), size):
            errors.feed(said[at : at + size])
        assert errors.finish() == line


# --- by an agent ---------------------------------------------------------------


async def test_an_agent_pulls_runs_and_reports_a_script(tmp_path: Path) -> None:
    """Without any engine, and with marks all the way to the server."""
    server = FakeServer()
    server.start()
    settings = load_settings(
        {
            "url": server.url,
            "pool_token": POOL_TOKEN,
            "agent_name": "tests",
            "agent_data_dir": tmp_path / "agent",
            "agent_cache_dir": tmp_path / "no-engine-is-looked-for",
        }
    )
    script = ScriptOrder(
        name="failing.sh",
        body=example("failing.sh"),
        environment={"PACE": "0.01", "SECRET": "s3cret-of-the-script"},
        sensitive=["SECRET"],
    )
    order = server.give(order_for(PhaseName.SCRIPT, action="script", script=script))
    agent = Agent(settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        try:
            await until_async(lambda: order.lease_id in server.results, 60)
        finally:
            agent.drain()
        async with asyncio.timeout(60):
            await task
    server.stop()
    result = server.results[order.lease_id]
    assert (result.outcome, result.exit_code) == (PhaseOutcome.FAILED, 3)
    assert server.registrations[0].capabilities == ["terraform", "opentofu", "script"]
    chunks = [one for one in server.log(order).chunks if one.kind is Kind.OUTPUT]
    marks = [mark_of(chunk) for chunk in chunks]
    assert all(mark and mark.script_path == "failing.sh" for mark in marks)
    assert marks[-1] is not None
    assert mark_after(marks[-1], chunks[-1].data).current_step == 3
    assert not (tmp_path / "no-engine-is-looked-for").exists()
    assert not list((tmp_path / "agent" / "phases").iterdir())
