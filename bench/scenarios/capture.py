"""Scenarios 4 and 7 on the agent's side: capture to the spool, and what it costs terraform."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.measure import ROOT, median
from sluice.base.clock import SystemClock
from sluice.runner.capture import Capture, Command, Graces
from sluice.runner.masker import Secrets
from sluice.runner.phase_dir import CancelRequest
from sluice.runner.secret_forms import secret_forms
from sluice.runner.spool import SpoolLimits, SpoolWriter

SECRETS = 50
LINES = 4_000_000
RESOURCES = 1500
PAIRS = 8
GENERATOR = [sys.executable, str(ROOT / "bench" / "generator.py")]
GIB = 1024**3

T = TypeVar("T")


class Quiet:
    """Surroundings of a capture that nobody cancels; notes are kept."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def cancel_request(self) -> CancelRequest | None:
        """Nobody wants the program to stop."""
        return None

    def note(self, text: str) -> None:
        """Keep what would stand in the log."""
        self.notes.append(text)


def fifty_secrets() -> Secrets:
    """All forms of as many random secrets as the targets ask for."""
    return Secrets(
        secret_forms(secrets.token_urlsafe(24) for _ in range(SECRETS)).patterns
    )


def captured(
    argv: Sequence[str], *, home: Path, cwd: Path, environment: dict[str, str]
) -> tuple[float, float]:
    """Seconds that a program takes with its output masked and spooled, and the CPU seconds
    that this takes.
    """
    spool = home / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir()
    clock = SystemClock()
    writer = SpoolWriter(spool, clock=clock, limits=SpoolLimits(spool_bytes=4 * GIB))
    capture = Capture(
        writer,
        secrets=fifty_secrets(),
        clock=clock,
        surroundings=Quiet(),
        graces=Graces(interrupt=30.0, terminate=10.0, drain=5.0),
    )
    begun, cpu = time.monotonic(), time.process_time()
    ended = capture.run(Command(argv, cwd, environment))
    took, cpu = time.monotonic() - begun, time.process_time() - cpu
    writer.close()
    if ended.code:
        raise RuntimeError(f"{argv[0]} ended with {ended.code}")
    return took, cpu


def to_file(
    argv: Sequence[str], *, home: Path, cwd: Path, environment: dict[str, str]
) -> float:
    """Seconds that a program takes with its output going to a file."""
    begun = time.monotonic()
    with (home / "plain").open("wb") as out:
        subprocess.run(
            argv, cwd=cwd, env=environment, stdout=out, stderr=out, check=True
        )
    return time.monotonic() - begun


def by_readline(argv: Sequence[str], *, home: Path) -> float:
    """The peer: asyncio's `readline`, one write a line, no mask."""

    async def read() -> None:
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with (home / "lines").open("wb") as out:
            while line := await process.stdout.readline():
                out.write(line)
        await process.wait()

    begun = time.monotonic()
    asyncio.run(read())
    return time.monotonic() - begun


def rate(lines: int = LINES) -> dict[str, float]:
    """Lines a second from a process that writes as fast as it can, masked, to the spool."""
    argv = [*GENERATOR, "--count", str(lines)]
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="sluice-capture-") as name:
        home = Path(name)
        seconds, _ = captured(argv, home=home, cwd=home, environment=environment)
        return {"lines_per_s": lines / seconds}


def rate_of_readline(lines: int = LINES // 4) -> dict[str, float]:
    """The same for the peer."""
    argv = [*GENERATOR, "--count", str(lines)]
    with tempfile.TemporaryDirectory(prefix="sluice-readline-") as name:
        return {"lines_per_s": lines / by_readline(argv, home=Path(name))}


class Plan:
    """A real terraform plan of many resources that need no provider from outside."""

    def __init__(self, home: Path) -> None:
        program = shutil.which("terraform")
        if program is None:
            raise RuntimeError("there is no terraform on PATH")
        self.home = home
        self.work = home / "work"
        self.work.mkdir()
        (self.work / "main.tf").write_text(
            f'resource "terraform_data" "one" {{\n  count = {RESOURCES}\n'
            '  input = "resource ${count.index}"\n}\n'
        )
        (home / "terraformrc").touch()
        self.environment = {
            **os.environ,
            "TF_CLI_CONFIG_FILE": str(home / "terraformrc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        subprocess.run(
            [program, "init", "-input=false"],
            cwd=self.work,
            env=self.environment,
            check=True,
            capture_output=True,
        )
        self.argv = [program, "plan", "-input=false", "-refresh=false"]

    def beside_file(self, pairs: int = PAIRS) -> dict[str, float]:
        """The plan captured and with its output going to a file, by turns.

        One plan differs from the next by more than what is looked for, so of several
        each the middle one stands for all.
        """
        seconds, spent, plain = [], [], []
        for pair in range(pairs):
            for side in ("captured", "file") if pair % 2 else ("file", "captured"):
                if side == "captured":
                    took, cpu = self._run(captured)
                    seconds.append(took)
                    spent.append(cpu)
                else:
                    plain.append(self._run(to_file))
        return {
            "captured_s": median(seconds),
            "file_s": median(plain),
            "ratio": median(seconds) / median(plain),
            "ratio_of_best": min(seconds) / min(plain),
            "cpu_percent": 100 * median(spent) / median(plain),
        }

    def _run(self, side: Callable[..., T]) -> T:
        return side(
            self.argv, home=self.home, cwd=self.work, environment=self.environment
        )
