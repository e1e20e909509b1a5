"""Runs the script of a phase: its file, its environment, its time, and its end in words."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.base.clock import Clock
from sluice.runner.capture import Capture, Command, Ended, Surroundings
from sluice.runner.job_journal import Journal
from sluice.runner.last_error import LastError
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.runner.phase_error import PhaseError, canceled
from sluice.runner.script_end import exit_code_of, failure_of, start_problem
from sluice.runner.script_spool import ScriptSpool
from sluice.wire.agent import ScriptOrder
from sluice.wire.events import Stage

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_OURS = "SLUICE_"


class Deadline:
    """A capture's surroundings that ask the program to stop when its time is up.

    Args:
        around: the surroundings otherwise.
        seconds: how long the program may run; None for as long as it takes.
        clock: for the time.

    Attributes:
        passed: the time was up before the program ended or anybody else stopped it.
    """

    def __init__(
        self, around: Surroundings, *, seconds: float | None, clock: Clock
    ) -> None:
        self.passed = False
        self._around = around
        self._clock = clock
        self._reason = "" if seconds is None else f"timed out after {seconds:g} s"
        self._at = None if seconds is None else clock.monotonic() + seconds

    @property
    def reason(self) -> str:
        """What happened, in words."""
        return self._reason

    def cancel_request(self) -> CancelRequest | None:
        """Somebody's wish that the program stop, else the time's."""
        request = self._around.cancel_request()
        if request is not None or self._at is None:
            return request
        if self._clock.monotonic() < self._at:
            return None
        self.passed = True
        return CancelRequest(CancelKind.TIME_OUT, f"The script {self._reason}")

    def note(self, text: str) -> None:
        """Say something to the reader of the log."""
        self._around.note(text)


@dataclass(frozen=True, slots=True)
class ScriptJob:
    """What a script's phase works with.

    Attributes:
        script: what to run.
        work: the directory to run in; its own, and empty.
        environment: the script's whole environment.
        spool: takes its output.
        journal: takes our own words.
        capture: runs it; its surroundings are ``deadline``.
        deadline: when to stop it.
    """

    script: ScriptOrder
    work: Path
    environment: Mapping[str, str]
    spool: ScriptSpool
    journal: Journal
    capture: Capture
    deadline: Deadline

    def run(self) -> None:
        """Run the script to its end.

        Raises:
            PhaseError: it could not be started, failed, or was stopped.
        """
        if (request := self.deadline.cancel_request()) is not None:
            stopped = canceled(request.reason)
            self.journal.note(stopped.sentence)
            raise stopped
        with self.journal.stage(Stage.RUNNING), self._telling():
            file = self._file()
            errors = LastError()
            ended = self._captured(file, errors)
            if ended.code or ended.canceled or self.deadline.passed:
                raise self._failure(ended, errors.finish())

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell the log's reader why the script failed."""
        try:
            yield
        except PhaseError as error:
            self.journal.problem(error.sentence)
            raise

    def _file(self) -> Path:
        """The script's file: written from its body, or the one that is on the agent."""
        self.work.mkdir(mode=0o700, exist_ok=True)
        if self.script.path:
            return _on_the_agent(self.script)
        file = self.work / script_file_name(self.script.name)
        file.touch(mode=0o700)
        file.write_text(self.script.body, encoding="utf-8", newline="")
        return file

    def _captured(self, file: Path, errors: LastError) -> Ended:
        argv = [*self.script.interpreter, str(file)]
        shown = self.script.path or self.script.name

        def begun(process_id: int) -> None:
            self.spool.begin(process_id=process_id, script_path=shown)

        try:
            return self.capture.run(
                Command(argv, self.work, self.environment),
                on_stderr=errors.feed,
                on_start=begun,
            )
        except OSError as error:
            raise PhaseError(
                f"{self._called} could not be started: {start_problem(error, argv[0])}."
            ) from error
        except ValueError as error:
            raise PhaseError(
                f"{self._called} could not be started: a parameter cannot be an"
                f" environment variable ({error})."
            ) from error

    @property
    def _called(self) -> str:
        return f"The script {self.script.name}"

    def _failure(self, ended: Ended, error: str) -> PhaseError:
        code = exit_code_of(ended.code)
        if self.deadline.passed:
            return PhaseError(f"{self._called} {self.deadline.reason}.", exit_code=code)
        if ended.canceled:
            request = self.deadline.cancel_request()
            return canceled(request.reason if request else "", exit_code=code)
        return PhaseError(failure_of(self._called, ended.code, error), exit_code=code)


def script_environment(
    inherited: Mapping[str, str], script: ScriptOrder, *, task_id: str
) -> dict[str, str]:
    """The environment a script runs in: the agent's, without Sluice's own settings, and
    the parameters.
    """
    kept = {
        name: value for name, value in inherited.items() if not name.startswith(_OURS)
    }
    return kept | {"SLUICE_TASK_ID": task_id} | script.environment


def script_secrets(script: ScriptOrder) -> list[str]:
    """The values of its sensitive parameters."""
    given = script.environment
    return [given[name] for name in script.sensitive if name in given]


def script_file_name(name: str) -> str:
    """What the file of a script of this name is called in its work directory."""
    return _NOT_IN_A_NAME.sub("_", name).lstrip("._-")[:100] or "script"


def _on_the_agent(script: ScriptOrder) -> Path:
    path = Path(script.path)
    if not path.is_absolute():
        raise PhaseError(
            f"The script {script.name} has the path {script.path!r}; a script on the agent"
            " needs an absolute path."
        )
    if not path.is_file():
        raise PhaseError(
            f"The script {script.name} is not on this agent: there is no file {path}. Put"
            " it there, or register the script with its text."
        )
    return path
