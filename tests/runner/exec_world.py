"""`sluice exec` as a process, with a place of its own for spools and settings."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sluice.runner.exec_dir import ExecDir, found_runs
from sluice.runner.spool import SpoolReader
from sluice.wire.agent import LogPosition
from sluice.wire.chunk import Chunk, Kind, Source
from tests.runner.agent_server import until

NOBODY = "http://127.0.0.1:9"


@dataclass
class ExecWorld:
    """Where scripts run in a test; ``url`` and ``token`` are set where there is a server."""

    root: Path
    url: str = ""
    token: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def env(self, **more: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SLUICE_", "KERUTA_", "XDG_"))
        }
        server = {"SLUICE_URL": self.url, "SLUICE_TOKEN": self.token}
        named = {key: value for key, value in server.items() if value}
        return {
            **kept,
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            **named,
            **self.settings,
            **more,
        }

    @property
    def spools(self) -> Path:
        return self.root / "state" / "sluice" / "exec"

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sluice", "exec", *arguments]

    def run(
        self, *arguments: str, stdin: bytes | None = b"", **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.env(**env),
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            cwd=self.root,
        )

    @contextmanager
    def start(self, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start, and see to its end: a test that fails leaves nothing behind."""
        with subprocess.Popen(
            self.argv(*arguments),
            env=self.env(**env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
        ) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def kept(self) -> ExecDir:
        """The one run whose spool is there."""
        (run,) = found_runs(self.spools)
        return run

    def chunks(self, run: ExecDir | None = None) -> list[Chunk]:
        run = run or self.kept()
        reader = SpoolReader(
            run.phase.spool, LogPosition(epoch=1, offset=0, next_line=1)
        )
        chunks: list[Chunk] = []
        reader.refresh()
        while more := reader.read(4_000_000):
            chunks += more
            reader.refresh()
        reader.close()
        return chunks

    def spooled(self, source: Source | None = None) -> bytes:
        """The output in the one spool that is there."""
        return b"".join(
            chunk.data
            for chunk in self.chunks()
            if chunk.kind is Kind.OUTPUT and source in {None, chunk.source}
        )

    def log(self) -> str:
        return b"".join(chunk.data for chunk in self.chunks()).decode()


def read_until(stream, wanted: bytes) -> bytes:
    """What comes from a process, up to and with ``wanted``."""
    got = b""
    while wanted not in got:
        more = stream.read1(65536)
        assert more, f"ended before {wanted!r}: {got!r}"
        got += more
    return got


def ended(process: subprocess.Popen[bytes], seconds: float = 60) -> int:
    """The exit code; what hangs is killed, and fails the test."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        raise


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and waits to be reaped does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rsplit(")", 1)[1].split()[0] != "Z"


def all_gone(pids: list[int]) -> None:
    until(lambda: not any(map(alive, pids)), 30)
