"""Capture of real programs: byte-exact, masked, prompt, and stopped when asked."""

import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sluice.base.clock import SystemClock
from sluice.runner.capture import Capture, Command, Ended, Graces
from sluice.runner.masker import Secrets
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.wire.chunk import MAX_CATCH_UP, Chunk, Kind, Source

QUICK = Graces(interrupt=5.0, terminate=5.0, drain=0.6)


class Log:
    """A sink that remembers when what came, and the surroundings of a capture."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.times: list[float] = []
        self.notes: list[str] = []
        self.request: CancelRequest | None = None

    def append(self, chunks: Sequence[Chunk]) -> None:
        self.chunks += chunks
        self.times += [time.monotonic()] * len(chunks)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def cancel_request(self) -> CancelRequest | None:
        return self.request

    def bytes_of(self, source: Source = Source.STDOUT) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks if chunk.source is source)

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + 20
        while text not in self.bytes_of() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert text in self.bytes_of()


def run(
    log: Log,
    cwd: Path,
    *argv: str,
    graces: Graces = QUICK,
    secrets: Sequence[bytes] = (),
    stdout_file: Path | None = None,
) -> Ended:
    capture = Capture(
        log,
        secrets=Secrets(secrets),
        clock=SystemClock(),
        surroundings=log,
        graces=graces,
    )
    return capture.run(Command(argv, cwd, os.environ, stdout_file))


def python(text: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", text)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no newline at the end",
        b"\n\n\r\n\x00\xff\xfe\r50%\r100%",
        random.Random(1).randbytes(3_000_000),
        b"x" * 10_000_000 + b"\n",
        b"\xe2\x82" * 100_000,
    ],
    ids=["nothing", "no-newline", "bars", "random", "10-MB-line", "broken-utf8"],
)
def test_the_bytes_are_the_programs_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "content").write_bytes(content)
    log = Log()
    assert run(log, tmp_path, "cat", "content") == Ended(0, canceled=False)
    assert log.bytes_of() == content
    assert all(0 < len(chunk.data) <= MAX_CATCH_UP for chunk in log.chunks)
    assert all(chunk.kind is Kind.OUTPUT for chunk in log.chunks)


def test_both_outputs_keep_their_source_and_exit_codes_come_back(
    tmp_path: Path,
) -> None:
    log = Log()
    ended = run(log, tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert ended == Ended(3, canceled=False)
    assert log.bytes_of(Source.STDOUT) == b"out\n"
    assert log.bytes_of(Source.STDERR) == b"err\n"
    assert run(log, tmp_path, "sh", "-c", "kill -9 $$").code == -signal.SIGKILL


def test_lines_of_both_outputs_come_in_the_order_they_were_written(
    tmp_path: Path,
) -> None:
    log = Log()
    script = "for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done"
    run(log, tmp_path, "sh", "-c", script)
    whole = b"".join(chunk.data for chunk in log.chunks)
    assert whole.split() == [b"o1", b"e1", b"o2", b"e2", b"o3", b"e3"]


def test_the_program_reads_nothing_and_leads_its_own_group(tmp_path: Path) -> None:
    log = Log()
    text = "import os, sys; print(sys.stdin.read() == '', os.getpgrp() == os.getpid())"
    run(log, tmp_path, *python(text))
    assert log.bytes_of() == b"True True\n"


def test_a_program_that_is_not_there_is_an_error_and_leaks_nothing(
    tmp_path: Path,
) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        run(Log(), tmp_path, str(tmp_path / "missing"))
    run(Log(), tmp_path, "true")
    assert os.listdir("/proc/self/fd") == before


def test_machine_output_goes_to_a_file_and_not_into_the_log(tmp_path: Path) -> None:
    log = Log()
    target = tmp_path / "plan.json"
    run(log, tmp_path, "sh", "-c", "echo '{}'; echo oops >&2", stdout_file=target)
    assert target.read_bytes() == b"{}\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert log.bytes_of() == b""
    assert log.bytes_of(Source.STDERR) == b"oops\n"


def test_secrets_are_masked_however_the_program_writes_them(tmp_path: Path) -> None:
    log = Log()
    text = """
import os, time
for piece in (b"a hun", b"ter2", b" b\\n", b"hunter", b"2", b"hun"):
    os.write(1, piece)
    time.sleep(0.15)
os.write(2, b"hunter2 on stderr\\n")
"""
    run(log, tmp_path, *python(text), secrets=[b"hunter2"])
    assert log.bytes_of() == b"a *** b\n***hun"
    assert log.bytes_of(Source.STDERR) == b"*** on stderr\n"


def test_standard_error_is_shown_to_the_observer_masked(tmp_path: Path) -> None:
    log = Log()
    seen: list[bytes] = []
    capture = Capture(
        log,
        secrets=Secrets([b"hunter2"]),
        clock=SystemClock(),
        surroundings=log,
        graces=QUICK,
    )
    command = Command(
        ["sh", "-c", "echo Error: hunter2 >&2; echo no"], tmp_path, os.environ
    )
    capture.run(command, on_stderr=seen.append)
    assert b"".join(seen) == b"Error: ***\n"


def test_the_first_bytes_after_silence_come_at_once_and_a_prompt_soon(
    tmp_path: Path,
) -> None:
    """A line after silence is in the sink within milliseconds; half a line after 100."""
    log = Log()
    text = """
import os, time
for _ in range(5):
    os.write(1, b"%.6f\\n" % time.monotonic())
    time.sleep(0.1)
os.write(1, b"prompt> ")
time.sleep(0.5)
os.write(1, b"done\\n")
"""
    run(log, tmp_path, *python(text))
    pairs = list(zip(log.chunks, log.times, strict=True))
    delays = [
        at - float(chunk.data)
        for chunk, at in pairs
        if re.fullmatch(rb"[\d.]+\n", chunk.data)
    ]
    assert len(delays) == 5
    assert sorted(delays)[2] < 0.02
    prompt = next(at for chunk, at in pairs if chunk.data == b"prompt> ")
    done = next(at for chunk, at in pairs if chunk.data == b"done\n")
    assert 0.25 < done - prompt < 0.5


def test_busy_output_is_taken_in_larger_blocks(tmp_path: Path) -> None:
    log = Log()
    text = """
import os, time
for n in range(3000):
    os.write(1, b"line %d\\n" % n)
    time.sleep(0.0001)
"""
    run(log, tmp_path, *python(text))
    assert log.bytes_of().count(b"\n") == 3000
    assert len(log.chunks) < 600


def test_something_left_behind_that_holds_the_output_is_not_waited_for(
    tmp_path: Path,
) -> None:
    log = Log()
    started = time.monotonic()
    ended = run(log, tmp_path, "sh", "-c", "sleep 4 & echo done")
    assert ended == Ended(0, canceled=False)
    assert 0.5 < time.monotonic() - started < 3
    assert log.bytes_of() == b"done\n"
    assert any("still holds its output" in note for note in log.notes)


def test_output_closed_early_is_no_end_of_the_program(tmp_path: Path) -> None:
    log = Log()
    ended = run(log, tmp_path, "sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 7")
    assert ended.code == 7


TRAPS = """
import signal, sys, time
def heard(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
    if signal.Signals(number).name in {stops!r}:
        time.sleep(0.2)
        sys.exit(9)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, heard)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


def canceled_run(
    log: Log, cwd: Path, *argv: str, kind: CancelKind, graces: Graces = QUICK
) -> Ended:
    """Run and cancel once the program says that it is ready."""

    def cancel() -> None:
        log.wait_for(b"ready")
        log.request = CancelRequest(kind, "by ann")

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        return run(log, cwd, *argv, graces=graces)
    finally:
        thread.join()


def test_cancel_interrupts_and_lets_the_program_stop_by_itself(tmp_path: Path) -> None:
    log = Log()
    ended = canceled_run(
        log, tmp_path, *python(TRAPS.format(stops=["SIGINT"])), kind=CancelKind.CANCEL
    )
    assert ended == Ended(9, canceled=True)
    assert log.bytes_of() == b"ready\nheard SIGINT\n"
    assert log.notes == [
        "Cancel requested (by ann): interrupt sent; up to 5 s to stop at a safe point."
    ]


def test_a_program_that_does_not_stop_is_terminated_then_killed(tmp_path: Path) -> None:
    log = Log()
    graces = Graces(interrupt=0.3, terminate=0.3, drain=1.0)
    ended = canceled_run(
        log,
        tmp_path,
        *python(TRAPS.format(stops=[])),
        kind=CancelKind.CANCEL,
        graces=graces,
    )
    assert ended == Ended(-signal.SIGKILL, canceled=True)
    assert log.bytes_of() == b"ready\nheard SIGINT\nheard SIGTERM\n"
    assert len(log.notes) == 3


def test_a_forced_cancel_kills_the_whole_group_at_once(tmp_path: Path) -> None:
    log = Log()
    script = (
        "sh -c 'trap \"\" INT TERM; while :; do sleep 0.05; done' & echo ready; wait"
    )
    started = time.monotonic()
    ended = canceled_run(
        log, tmp_path, "sh", "-c", script, kind=CancelKind.FORCE_CANCEL
    )
    assert ended == Ended(-signal.SIGKILL, canceled=True)
    # The grandchild died too: nobody was left to hold the output open.
    assert time.monotonic() - started < 2
    assert not any("still holds" in note for note in log.notes)


def test_what_a_canceled_program_leaves_behind_is_swept_up(tmp_path: Path) -> None:
    log = Log()
    script = (
        "sh -c 'trap \"\" INT; echo $$; sleep 60' & trap 'exit 5' INT;"
        " sleep 0.3; echo ready; while :; do sleep 0.05; done"
    )
    ended = canceled_run(log, tmp_path, "sh", "-c", script, kind=CancelKind.CANCEL)
    assert ended == Ended(5, canceled=True)
    left = int(log.bytes_of().split()[0])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and alive(left):
        time.sleep(0.02)
    assert not alive(left)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
