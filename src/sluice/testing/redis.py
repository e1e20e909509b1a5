"""A real Redis (or Valkey) server of our own on a loopback port."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.testing.processes import HOST, free_port, listens, running


class NoRedisError(RuntimeError):
    """There is no redis-server on this machine."""


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server, its memory only."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """What `SLUICE_REDIS_URL` takes."""
        return f"redis://{HOST}:{self.port}/0"


@contextlib.contextmanager
def redis(port: int | None = None) -> Iterator[Redis]:
    """Run a server while the block runs; ``port`` lets a killed one come back.

    Raises:
        NoRedisError: neither `redis-server` nor `valkey-server` is on PATH.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NoRedisError("neither redis-server nor valkey-server is on PATH")
    at = port or free_port()
    command = [program, "--port", str(at), "--bind", HOST, "--save", ""]
    with tempfile.TemporaryDirectory(prefix="sluice-redis-") as home:
        log = Path(home) / "log"
        with running(command, log=log, ready=lambda: listens(at)) as pid:
            yield Redis(at, pid)
