"""AWS on a loopback port: moto's server, for S3 blobs and for the AWS provider."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from sluice.testing.processes import HOST, free_port, listens, running


@dataclass(frozen=True, slots=True)
class Moto:
    """A running server; takes any credentials."""

    port: int
    pid: int

    @property
    def endpoint(self) -> str:
        """Base URL of all its services."""
        return f"http://{HOST}:{self.port}"

    def create_bucket(self, name: str) -> None:
        """Make an S3 bucket (names have at least 3 characters)."""
        httpx2.put(f"{self.endpoint}/{name}", trust_env=False).raise_for_status()

    def reset(self) -> None:
        """Forget everything."""
        answer = httpx2.post(f"{self.endpoint}/moto-api/reset", trust_env=False)
        answer.raise_for_status()


@contextlib.contextmanager
def moto() -> Iterator[Moto]:
    """Run moto's server while the block runs."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with tempfile.TemporaryDirectory(prefix="sluice-moto-") as home:
        log = Path(home) / "log"
        with running(command, log=log, ready=lambda: listens(port)) as pid:
            yield Moto(port, pid)
