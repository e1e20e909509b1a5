"""Runs the script of `sluice exec` to its end: printed, spooled, and said in a result."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from sluice.base.clock import Clock
from sluice.runner.capture import Capture, Command, Ended, Graces, Sink
from sluice.runner.exec_child import Child
from sluice.runner.exec_dir import ExecDir, RunRecord
from sluice.runner.exec_printer import Printer
from sluice.runner.job_journal import Journal
from sluice.runner.job_script import Deadline
from sluice.runner.job_spec import JobResult
from sluice.runner.last_error import LastError
from sluice.runner.masker import Secrets
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.runner.phase_error import PhaseError, canceled
from sluice.runner.script_end import (
    exit_code_of,
    failure_of,
    signal_name,
    start_problem,
)
from sluice.runner.script_spool import ScriptSpool
from sluice.runner.secret_forms import TOO_SHORT, secret_forms
from sluice.runner.spool import SpoolLimits
from sluice.wire.agent import PhaseName, PhaseOutcome
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.events import Stage

NOT_FOUND = 127
NOT_RUNNABLE = 126

_UNSENT = "Log streaming is off: what the script prints is not sent."


@dataclass(frozen=True, slots=True)
class Script:
    """What to run.

    Attributes:
        argv: program and arguments.
        name: what people call it.
        directory: where it runs.
        environment: its whole environment.
        secrets: what must not be sent.
        timeout: how long it may run; None for as long as it takes.
        graces: how long it may take to stop.
    """

    argv: Sequence[str]
    name: str
    directory: Path
    environment: Mapping[str, str]
    secrets: Sequence[str]
    timeout: float | None
    graces: Graces

    @property
    def command(self) -> Command:
        """As a capture takes it; standard input is our own."""
        return Command(self.argv, self.directory, self.environment, stdin=None)


class Wishes:
    """What the server asks of the script, and what the script's log is told."""

    def __init__(self) -> None:
        self.journal: Journal | None = None
        self._request: CancelRequest | None = None

    def command(self, command: str) -> None:
        """The server's word; one that is not known changes nothing."""
        if command in {CancelKind.CANCEL, CancelKind.FORCE_CANCEL}:
            known = self._request
            if known is None or known.kind is not CancelKind.FORCE_CANCEL:
                self._request = CancelRequest(CancelKind(command))

    def cancel_request(self) -> CancelRequest | None:
        """The wish that the script stop, if there is one."""
        return self._request

    def note(self, text: str) -> None:
        """Say something to the reader of the log."""
        if self.journal is not None:
            self.journal.note(text)


class _Nowhere:
    """A sink for what is not sent."""

    def append(self, chunks: Sequence[Chunk]) -> None:
        """Keep nothing."""


class _MarkersOnly(ScriptSpool):
    """A spool without output: the server learns of begin and end."""

    @override
    def append(self, chunks: Sequence[Chunk]) -> None:
        super().append([one for one in chunks if one.kind is Kind.EVENT])


class Kept:
    """Where a script's output is kept for the server. Close it when the script has ended.

    Args:
        run: the directory.
        record: what is known of the run.
        output: whether what the script prints is kept, or begin and end alone.
        limits: how much disk it may take.
        clock: for times.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(
        self,
        run: ExecDir,
        record: RunRecord,
        *,
        output: bool,
        limits: SpoolLimits,
        clock: Clock,
    ) -> None:
        self.output = output
        self._run = run
        self._record = record
        self._wake = run.phase.open_wake()
        kind = ScriptSpool if output else _MarkersOnly
        self.spool = kind(run.phase.spool, clock=clock, limits=limits, wake=self._wake)

    def begin(self, process_id: int) -> None:
        """The script's process is there."""
        record = self._record.model_copy(update={"process_id": process_id})
        self.spool.begin(
            process_id=process_id,
            script_path=record.script_path,
            floor=record.floor,
        )
        with contextlib.suppress(OSError):
            self._run.write_record(record)

    def close(self, result: JobResult) -> None:
        """How it ended; the last thing there is to keep.

        Raises:
            OSError: the disk does not take it.
        """
        self.spool.close()
        try:
            self._run.phase.write_result(result)
        finally:
            with contextlib.suppress(OSError):
                os.write(self._wake, b"\0")
            os.close(self._wake)


class ExecScript:
    """One script from its start to its exit code. Blocks: run it in a thread.

    Args:
        script: what to run.
        child: told when the process is there and when it is gone.
        printer: prints the output as it comes.
        wishes: says whether the script is to stop.
        clock: for times.
    """

    def __init__(
        self,
        script: Script,
        *,
        child: Child,
        printer: Printer,
        wishes: Wishes,
        clock: Clock,
    ) -> None:
        self._script = script
        self._child = child
        self._printer = printer
        self._wishes = wishes
        self._clock = clock
        self._forms = secret_forms(script.secrets)
        self._secrets = Secrets(self._forms.patterns)

    def run(self) -> int:
        """Run it and keep nothing; its exit code."""
        try:
            self._captured(_Nowhere(), self._child.begin)
        except PhaseError as failure:
            return failure.exit_code or 0
        return 0

    def run_kept(self, kept: Kept, *, on_start: Callable[[], None]) -> int:
        """Run it and keep its output, and how it ended, for the server; its exit code."""
        journal = self._wishes.journal = Journal(
            kept.spool,
            clock=self._clock,
            secrets=self._secrets,
            phase=PhaseName.SCRIPT.value,
        )

        def begun(process_id: int) -> None:
            self._child.begin(process_id)
            kept.begin(process_id)
            on_start()

        result = JobResult(outcome=PhaseOutcome.SUCCEEDED, exit_code=0)
        try:
            with journal.stage(Stage.RUNNING), _telling(journal):
                if not kept.output:
                    journal.note(_UNSENT)
                if self._forms.too_short:
                    journal.note(TOO_SHORT.format(self._forms.too_short))
                self._captured(kept.spool, begun)
        except PhaseError as failure:
            result = JobResult(
                outcome=failure.outcome,
                exit_code=failure.exit_code,
                error=journal.masked(failure.sentence),
            )
        try:
            kept.close(result.model_copy(update={"stages": journal.reports}))
        except OSError as error:
            self._printer.say(f"how the script ended could not be kept: {error}")
        return result.exit_code or 0

    def _captured(self, sink: Sink, on_start: Callable[[int], None]) -> None:
        """Run it to its end.

        Raises:
            PhaseError: it could not be started, failed, or was stopped.
        """
        script = self._script
        deadline = Deadline(self._wishes, seconds=script.timeout, clock=self._clock)
        capture = Capture(
            sink,
            secrets=self._secrets,
            clock=self._clock,
            surroundings=deadline,
            graces=script.graces,
        )
        errors = LastError()
        try:
            ended = capture.run(
                script.command,
                on_stderr=errors.feed,
                on_start=on_start,
                tap=self._printer,
            )
        except (OSError, ValueError) as error:
            raise self._unstarted(error) from error
        finally:
            self._child.end()
        if ended.code or ended.canceled or deadline.passed:
            raise self._failure(ended, deadline, errors.finish())

    def _unstarted(self, error: OSError | ValueError) -> PhaseError:
        program = self._script.argv[0]
        if "/" in program:
            program = str(self._script.directory / program)
        code, why = NOT_RUNNABLE, f"{program}: {error}"
        if isinstance(error, OSError):
            why = start_problem(error, program)
            code = NOT_FOUND if error.errno == errno.ENOENT else NOT_RUNNABLE
        sentence = f"{self._called} could not be started: {why}."
        self._printer.say(sentence)
        return PhaseError(sentence, exit_code=code)

    @property
    def _called(self) -> str:
        return f"The script {self._script.name}"

    def _failure(self, ended: Ended, deadline: Deadline, error: str) -> PhaseError:
        code = exit_code_of(ended.code)
        if deadline.passed:
            self._printer.say(f"{self._called} {deadline.reason}.")
            return PhaseError(f"{self._called} {deadline.reason}.", exit_code=code)
        if ended.canceled:
            self._printer.say(f"{self._called} was canceled on the server.")
            return canceled("", exit_code=code)
        if -ended.code in self._child.sent:
            return PhaseError(
                f"{self._called} was ended by {signal_name(-ended.code)}, which"
                " `sluice exec` was sent.",
                exit_code=code,
            )
        return PhaseError(failure_of(self._called, ended.code, error), exit_code=code)


@contextlib.contextmanager
def _telling(journal: Journal) -> Iterator[None]:
    """Tell the log's reader why the script failed."""
    try:
        yield
    except PhaseError as error:
        journal.problem(error.sentence)
        raise
