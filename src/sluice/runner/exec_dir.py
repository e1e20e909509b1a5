"""Where a run of `sluice exec` keeps its spool, and how it is found again later."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sluice.base.errors import ConflictError, InvalidInputError
from sluice.runner.job_spec import JobMessage
from sluice.runner.phase_dir import PhaseDir, write_json_atomic

RUN_FILE = "run.json"


class RunRecord(JobMessage):
    """What is known of a run besides its output; never a token.

    Attributes:
        task_id: the task that the script is.
        run_id: this run of it.
        url: the server that is to have its output.
        name: what people call it.
        script_path: the script.
        process_id: its process; 0 while there is none.
        floor: the lowest level to show live.
        host: the machine.
        organization: whose task it is, where that has to be said.
    """

    task_id: str
    run_id: str
    url: str
    name: str = ""
    script_path: str = ""
    process_id: int = 0
    floor: str = ""
    host: str = ""
    organization: str = ""


@dataclass(frozen=True, slots=True)
class ExecDir:
    """The directory of one run: laid out as a phase's, with a record instead of an order."""

    phase: PhaseDir

    @property
    def root(self) -> Path:
        """Where it is."""
        return self.phase.root

    def write_record(self, record: RunRecord) -> None:
        """Keep what is known of the run."""
        write_json_atomic(self.root / RUN_FILE, record.model_dump_json())

    def read_record(self) -> RunRecord:
        """What is known of the run.

        Raises:
            InvalidInputError: this is no directory of a run.
        """
        try:
            return RunRecord.model_validate_json((self.root / RUN_FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise InvalidInputError(
                f"{self.root} holds no run of `sluice exec` that can be read ({error})."
            ) from None

    def lock(self) -> int:
        """Hold the run as its only keeper; the lock lives as long as the descriptor.

        Raises:
            ConflictError: somebody else holds it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.phase.lock, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConflictError(
                f"The script of {self.root} still runs, or is being delivered."
            ) from None
        return descriptor


def new_exec_dir(
    run_id: str, *, lasting: Path | None, passing: list[Path]
) -> ExecDir | None:
    """A private directory for a run, in the first place that can be written to.

    Args:
        run_id: the run.
        lasting: where it survives the machine's restart, if there is such a place.
        passing: where else it may be.
    """
    if lasting is not None:
        with contextlib.suppress(OSError):
            lasting.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _made(lasting / run_id)
    for place in passing:
        with contextlib.suppress(OSError):
            return _made(Path(tempfile.mkdtemp(prefix="sluice-exec-", dir=place)))
    return None


def _made(root: Path) -> ExecDir:
    root.mkdir(mode=0o700, exist_ok=True)
    made = ExecDir(PhaseDir(root))
    made.phase.spool.mkdir(mode=0o700)
    os.mkfifo(made.phase.wake, 0o600)
    return made


def remove_run(run: ExecDir) -> None:
    """The server has everything, or there is nothing to send: remove the directory."""
    shutil.rmtree(run.root, ignore_errors=True)


def found_runs(path: Path) -> list[ExecDir]:
    """The runs in a directory: it is one itself, or holds some.

    Raises:
        InvalidInputError: there is none.
    """
    roots = [path] if (path / RUN_FILE).is_file() else []
    if not roots and path.is_dir():
        roots = sorted(one.parent for one in path.glob(f"*/{RUN_FILE}"))
    if not roots:
        raise InvalidInputError(f"{path} holds no run of `sluice exec`.")
    return [ExecDir(PhaseDir(root.absolute())) for root in roots]
