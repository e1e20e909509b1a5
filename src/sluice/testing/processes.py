"""Starts a server as a child process on a loopback port and stops it by its own pid."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"


class StartError(RuntimeError):
    """A server did not come up; the message ends with what it printed."""


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    user: str | int | None = None,
    stop_signal: int = 15,
) -> Iterator[int]:
    """Run ``command`` while the block runs; the value is its pid.

    Args:
        command: program and arguments.
        log: file that takes its output.
        ready: asked until it says yes.
        user: run as this user (needs root).
        stop_signal: what a clean stop takes (PostgreSQL: 2, the others 15).

    Raises:
        StartError: it ended, or was not ready within 30 seconds.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the callers' own programs
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            user=user,
            start_new_session=True,
        )
    try:
        _wait(process, ready, log)
        yield process.pid
    finally:
        _stop(process, stop_signal)


def _wait(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path
) -> None:
    deadline = time.monotonic() + 30.0
    while not ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            what = "was not ready in 30 s" if ended is None else f"ended with {ended}"
            said = log.read_text(errors="replace")[-2000:]
            raise StartError(f"{process.args!r} {what}:\n{said}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes], stop_signal: int) -> None:
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
