"""Starts a phase process that outlives the agent which started it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from sluice.runner.job_spec import JobSpec
from sluice.runner.phase_dir import PhaseDir


def start_job(phase: PhaseDir, spec: JobSpec) -> subprocess.Popen[bytes]:
    """Start ``python -m sluice.runner.job`` in a session of its own and hand it its spec.

    The phase's lock is taken here and inherited by the job, so there is no moment at which
    a restarted agent could take a job that is just starting for a dead one. The phase
    directory must have been created (`PhaseDir.create`). Blocks for as long as the job
    takes to start reading when the spec is larger than a pipe: call it in a thread.

    Returns:
        The process, for `wait` by the agent that started it; another agent asks
        `PhaseDir.job_is_alive`.

    Raises:
        OSError: the process could not be started.
        BlockingIOError: a job already runs for this phase.
    """
    lock = os.open(phase.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = _spawn(phase.root, phase.job_log, lock)
    finally:
        os.close(lock)
    _hand_over(process, spec)
    return process


def _spawn(root: Path, job_log: Path, lock: int) -> subprocess.Popen[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(job_log, flags, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sluice.runner.job", str(root), str(lock)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            cwd=root,
        )
    finally:
        os.close(log)


def _hand_over(process: subprocess.Popen[bytes], spec: JobSpec) -> None:
    """Write the spec; a job that died before reading it shows as one without a result."""
    stdin = process.stdin
    if stdin is None:
        raise ValueError("the job was started without a standard input")
    try:
        stdin.write(spec.model_dump_json().encode())
        stdin.close()
    except BrokenPipeError:
        return
