"""Where a phase lives on the agent's disk, and how agent and job find each other there."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
from pydantic import ValidationError

from sluice.runner.job_spec import JobResult
from sluice.wire.agent import PhaseOrder


class CancelKind(StrEnum):
    """Why a phase is to stop, and how urgently: at a safe point, or at once."""

    CANCEL = "cancel"
    FORCE_CANCEL = "force_cancel"
    TIME_OUT = "time_out"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Somebody asked the phase to stop; ``reason`` names who and why."""

    kind: CancelKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JobProcess:
    """The job's process: its id, and its start time so that a reused id is noticed."""

    pid: int
    started: float


def write_json_atomic(path: Path, text: str) -> None:
    """Put ``text`` in place of the file, whole or not at all, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(frozen=True, slots=True)
class PhaseDir:
    """The files of one phase under ``root`` (``<agent data>/phases/<lease_id>``)."""

    root: Path

    @property
    def order(self) -> Path:
        """The order without secrets, for a restarted agent."""
        return self.root / "order.json"

    @property
    def pid(self) -> Path:
        """The job's process id and start time."""
        return self.root / "pid"

    @property
    def lock(self) -> Path:
        """Locked (flock) for as long as the job lives."""
        return self.root / "lock"

    @property
    def spool(self) -> Path:
        """The directory of log segments."""
        return self.root / "spool"

    @property
    def wake(self) -> Path:
        """A FIFO: one byte says that the spool grew or the result is there."""
        return self.root / "wake"

    @property
    def nudge(self) -> Path:
        """A FIFO: one byte says that there is a wish to stop, or another one."""
        return self.root / "nudge"

    @property
    def cancel(self) -> Path:
        """The agent's wish that the phase stop."""
        return self.root / "cancel"

    @property
    def result(self) -> Path:
        """How the phase ended; written once, at the very end."""
        return self.root / "result.json"

    @property
    def work(self) -> Path:
        """The directory terraform runs in; removed afterwards."""
        return self.root / "work"

    @property
    def job_log(self) -> Path:
        """What the job process itself printed (tracebacks); never terraform's output."""
        return self.root / "job.log"

    def create(self, order: PhaseOrder) -> None:
        """Make the directory with its spool, FIFO and order; again is harmless."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.wake, 0o600)
        public = order.model_copy(
            update={
                "variables": [],
                "task_token": "",
                "script": None,
                "identities": [],
            }
        )
        write_json_atomic(self.order, public.model_dump_json())

    def read_order(self) -> PhaseOrder | None:
        """The order without its secrets; None where there is no whole one."""
        try:
            return PhaseOrder.model_validate_json(self.order.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def open_wake(self) -> int:
        """A descriptor of the FIFO, for reading and writing, that never blocks."""
        return os.open(self.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_nudge(self) -> int:
        """A descriptor of the nudges, made where there are none; -1 where that fails.

        Without it the job sees a wish to stop when it looks by itself.
        """
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self.nudge, 0o600)
            return os.open(self.nudge, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return -1

    def request_cancel(self, request: CancelRequest) -> None:
        """Ask the job to stop; a later request replaces an earlier one."""
        body = {"kind": request.kind.value, "reason": request.reason}
        write_json_atomic(self.cancel, json.dumps(body))
        # where nobody listens, or the last nudge was not heard yet, none is needed
        with contextlib.suppress(OSError):
            nudge = os.open(self.nudge, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(nudge, b"\0")
            finally:
                os.close(nudge)

    def read_cancel(self) -> CancelRequest | None:
        """The wish that the phase stop, if there is one."""
        try:
            body = json.loads(self.cancel.read_bytes())
        except FileNotFoundError:
            return None
        return CancelRequest(CancelKind(body["kind"]), str(body["reason"]))

    def write_result(self, result: JobResult) -> None:
        """Say how the phase ended; the last thing a job does."""
        write_json_atomic(self.result, result.model_dump_json())

    def read_result(self) -> JobResult | None:
        """How the phase ended; None while it has not."""
        try:
            return JobResult.model_validate_json(self.result.read_bytes())
        except FileNotFoundError:
            return None

    def write_pid(self) -> None:
        """Say which process the job is (called by the job)."""
        body = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        write_json_atomic(self.pid, json.dumps(body))

    def read_pid(self) -> JobProcess | None:
        """The job's process as it introduced itself, alive or not."""
        try:
            body = json.loads(self.pid.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return JobProcess(int(body["pid"]), float(body["started"]))

    def job_is_alive(self) -> bool:
        """Whether a job holds the lock. The lock dies with the process, whatever kills it."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive flock on ``path`` for a few file operations."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
