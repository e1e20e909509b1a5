"""The `sluice` command as a person or a script runs it: on a terminal, or with pipes."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ARGV = [sys.executable, "-m", "sluice"]
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")


@dataclass(frozen=True)
class Place:
    """Where the command runs: its environment and directory."""

    root: Path
    url: str = ""
    token: str = "slu_test"

    def environment(self, **more: str) -> dict[str, str]:
        """An environment of its own, with nothing of this machine's settings."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SLUICE_", "TF_", "XDG_", "NO_COLOR"))
        }
        own = {
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_DATA_HOME": str(self.root / "share"),
            "HOME": str(self.root),
            "TERM": "xterm-256color",
            "COLUMNS": "100",
        }
        if self.url:
            own |= {"SLUICE_URL": self.url, "SLUICE_TOKEN": self.token}
        return kept | own | more

    def run(
        self, *arguments: str, stdin: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end with pipes."""
        return subprocess.run(
            [*ARGV, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.root,
            env=self.environment(**more),
        )

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start the command with pipes."""
        return subprocess.Popen(
            [*ARGV, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=self.environment(**more),
        )

    def terminal(self, *arguments: str, **more: str) -> "Terminal":
        """Start the command on a terminal."""
        return Terminal([*ARGV, *arguments], self.root, self.environment(**more))


class Terminal:
    """A command on a pseudo terminal of its own; close it, or use it with `with`."""

    def __init__(self, argv: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.raw = ""
        self._seen = 0
        self._code: int | None = None
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(argv[0], argv, env)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    @property
    def text(self) -> str:
        """Everything shown so far, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def expect(self, words: str, seconds: float = 15) -> str:
        """Wait until ``words`` are shown, after what was expected before."""
        deadline = time.monotonic() + seconds
        while words not in self.text[self._seen :]:
            if time.monotonic() > deadline or not self._read(0.1):
                raise AssertionError(f"{words!r} was not shown:\n{self.text}")
        self._seen = self.text.index(words, self._seen) + len(words)
        return self.text

    def wait(self, seconds: float = 15) -> int:
        """The exit code, once the command has ended."""
        deadline = time.monotonic() + seconds
        while self._read(0.1):
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not end:\n{self.text}")
        _, status = os.waitpid(self.pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def _read(self, seconds: float) -> bool:
        """Take what is shown; False once the terminal is closed."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)
