"""A wish to stop is heard at once where there are nudges, and soon where there are none."""

import os
import threading
import time
from pathlib import Path

import pytest

from sluice.base.clock import SystemClock
from sluice.runner import capture as capture_module
from sluice.runner.capture import Capture, Command, Ended, Graces
from sluice.runner.masker import Secrets
from sluice.runner.phase_dir import CancelKind, CancelRequest, PhaseDir
from sluice.runner.spool import SpoolWriter

LONG = 3600.0
STUBBORN = ("sh", "-c", "trap '' INT; echo on; sleep 600 & wait; wait; wait")


class Program:
    """A program whose wish to stop comes through a phase's files."""

    def __init__(self, root: Path, *argv: str) -> None:
        self.phase = PhaseDir(root)
        self.phase.spool.mkdir()
        self.argv = argv
        self.notes: list[str] = []
        self.ended: Ended | None = None
        self.nudge = self.phase.open_nudge()
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def cancel_request(self) -> CancelRequest | None:
        return self.phase.read_cancel()

    def start(self) -> None:
        self._thread.start()
        assert self._running.wait(30)

    def end(self) -> Ended:
        self._thread.join(60)
        if self.nudge >= 0:
            os.close(self.nudge)
        assert self.ended is not None, self.notes
        return self.ended

    def _run(self) -> None:
        clock = SystemClock()
        spool = SpoolWriter(self.phase.spool, clock=clock)
        capture = Capture(
            spool,
            secrets=Secrets([]),
            clock=clock,
            surroundings=self,
            graces=Graces(interrupt=0.2, terminate=0.2, drain=0.2),
            nudge=self.nudge,
        )
        self.ended = capture.run(
            Command(self.argv, self.phase.root, dict(os.environ)),
            on_start=lambda _: self._running.set(),
        )
        spool.close()


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "NUDGED_LOOK_SECONDS", LONG)


@pytest.mark.usefixtures("rare_looks")
def test_a_nudge_is_heard_without_a_look(tmp_path: Path) -> None:
    program = Program(tmp_path, "sleep", "600")
    program.start()
    program.phase.request_cancel(CancelRequest(CancelKind.CANCEL, "by ann"))
    assert program.end() == Ended(-2, canceled=True)
    assert "by ann" in program.notes[0]


@pytest.mark.usefixtures("rare_looks")
def test_a_nudge_from_before_the_program_is_heard(tmp_path: Path) -> None:
    program = Program(tmp_path, "sleep", "600")
    program.phase.request_cancel(CancelRequest(CancelKind.CANCEL))
    program.start()
    assert program.end().canceled


@pytest.mark.usefixtures("rare_looks")
def test_after_the_first_signal_time_passes_by_itself(tmp_path: Path) -> None:
    program = Program(tmp_path, *STUBBORN)
    program.start()
    program.phase.request_cancel(CancelRequest(CancelKind.CANCEL))
    assert program.end().canceled
    assert "terminate sent" in program.notes[1]


@pytest.mark.usefixtures("rare_looks")
def test_each_wish_has_its_nudge(tmp_path: Path) -> None:
    program = Program(tmp_path, "sleep", "600")
    program.start()
    for _ in range(1000):  # more than anybody hears one by one
        program.phase.request_cancel(CancelRequest(CancelKind.FORCE_CANCEL))
    assert program.end() == Ended(-9, canceled=True)


def test_a_wish_without_a_nudge_is_seen_all_the_same(tmp_path: Path) -> None:
    program = Program(tmp_path, "sleep", "600")
    program.start()
    program.phase.nudge.unlink()
    program.phase.request_cancel(CancelRequest(CancelKind.CANCEL))
    assert program.end().canceled


def test_a_phase_without_nudges_is_looked_at_more_often(tmp_path: Path) -> None:
    (tmp_path / "nudge").mkdir()
    program = Program(tmp_path, "sleep", "600")
    assert program.nudge == -1
    program.start()
    program.phase.request_cancel(CancelRequest(CancelKind.CANCEL))
    assert program.end().canceled


def test_a_wish_with_nobody_to_hear_it_is_kept(tmp_path: Path) -> None:
    phase = PhaseDir(tmp_path)
    wish = CancelRequest(CancelKind.CANCEL, "early")
    phase.request_cancel(wish)
    os.close(phase.open_nudge())
    phase.request_cancel(wish)
    assert phase.read_cancel() == wish


def test_an_end_is_not_kept_waiting_for_more_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system does not tell of a process's end")
    monkeypatch.setattr(capture_module, "COALESCE_SECONDS", 120.0)
    program = Program(tmp_path, "sh", "-c", "echo one; sleep 0.3; echo two")
    began = time.monotonic()
    program.start()
    assert program.end() == Ended(0, canceled=False)
    assert time.monotonic() - began < 60
