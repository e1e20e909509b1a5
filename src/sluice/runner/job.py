"""The phase process: `python -m sluice.runner.job <phase_dir> [<lock descriptor>]`.

It reads its `JobSpec` from standard input, owns terraform and its output, and outlives the
agent that started it. It ends by writing ``result.json``.
"""

import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import SluiceError
from sluice.runner.capture import Capture, Graces, Surroundings
from sluice.runner.job_identity import (
    identity_environment,
    identity_secrets,
    without_rivals,
    write_identities,
)
from sluice.runner.job_journal import Journal
from sluice.runner.job_phases import (
    StateDivergedError,
    Tools,
    run_apply,
    run_plan,
)
from sluice.runner.job_script import (
    Deadline,
    ScriptJob,
    script_environment,
    script_secrets,
)
from sluice.runner.job_spec import JobResult, JobSpec
from sluice.runner.job_terraform import Terraform
from sluice.runner.job_transfer import Transfer
from sluice.runner.job_work import WorkDir, terraform_environment
from sluice.runner.masker import Secrets
from sluice.runner.phase_dir import CancelRequest, PhaseDir
from sluice.runner.phase_error import PhaseError
from sluice.runner.script_spool import ScriptSpool
from sluice.runner.secret_forms import (
    TOO_SHORT,
    SecretForms,
    secret_forms,
    sensitive_values,
)
from sluice.runner.spool import SpoolLimits, SpoolWriter
from sluice.wire.agent import PhaseName, PhaseOutcome

# They may come from the agent's terminal or service manager; what is to stop terraform
# comes through the `cancel` file.
_UNHEARD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_NO_SPEC = 2

_log = logging.getLogger(__name__)


class Job:
    """One phase from its spec to its result.

    Args:
        phase: where it lives.
        spec: what to do.
        clock: for all times.
    """

    def __init__(self, phase: PhaseDir, spec: JobSpec, clock: Clock) -> None:
        self._phase = phase
        self._spec = spec
        self._clock = clock
        self._forms = _secrets_of(spec)
        self._secrets = Secrets(self._forms.patterns)
        self._work = WorkDir(phase.work, spec.order.working_directory)
        self._diverged: StateDivergedError | None = None
        self._nudge = -1

    def run(self) -> None:
        """Run the phase; whatever happens, a result is written at the end."""
        wake = self._phase.open_wake()
        self._nudge = self._phase.open_nudge()
        limits = SpoolLimits(
            self._spec.limits.spool_bytes, self._spec.limits.segment_bytes
        )
        script = self._spec.order.phase is PhaseName.SCRIPT
        kind = ScriptSpool if script else SpoolWriter
        spool = kind(self._phase.spool, clock=self._clock, limits=limits, wake=wake)
        journal = Journal(
            spool,
            clock=self._clock,
            secrets=self._secrets,
            phase=self._spec.order.phase.value,
        )
        result = self._result(spool, journal)
        spool.close()
        self._work.remove_identities()
        if self._diverged is None or not self._diverged.in_work:
            self._work.remove()
        self._phase.write_result(result)
        with contextlib.suppress(OSError):
            os.write(wake, b"\0")
        os.close(wake)
        if self._nudge >= 0:
            os.close(self._nudge)

    def _result(self, spool: SpoolWriter, journal: Journal) -> JobResult:
        """Run the stages and say how they ended."""
        outcome, exit_code, error, has_changes = PhaseOutcome.FAILED, None, "", None
        try:
            has_changes = self._stages(spool, journal)
            outcome, exit_code = PhaseOutcome.SUCCEEDED, 0
        except PhaseError as failure:
            outcome, exit_code = failure.outcome, failure.exit_code
            error = failure.sentence
        except StateDivergedError as diverged:
            self._diverged = diverged
            error = diverged.sentence
            if isinstance(first := diverged.__context__, PhaseError):
                outcome, exit_code = first.outcome, first.exit_code
                error = f"{first.sentence} {error}"
        except SluiceError as refused:
            error = refused.detail
            journal.problem(error)
        except Exception as bug:  # noqa: BLE001 - a phase always ends with a result
            _log.exception("the phase process failed")
            error = f"The phase process failed ({type(bug).__name__}: {bug})."
            journal.problem(error)
        return JobResult(
            outcome=outcome,
            exit_code=exit_code,
            error=journal.masked(error),
            has_changes=has_changes,
            stages=journal.reports,
            state_diverged=self._diverged is not None,
            state_kept=self._diverged is None or self._diverged.kept,
            engine_version=self._spec.engine_version,
        )

    def _stages(self, spool: SpoolWriter, journal: Journal) -> bool | None:
        order = self._spec.order
        if self._forms.too_short:
            journal.note(TOO_SHORT.format(self._forms.too_short))
        if isinstance(spool, ScriptSpool):
            self._script(spool, journal).run()
            return None
        with contextlib.closing(self._transfer(journal)) as transfer:
            tools = self._tools(spool, journal, transfer)
            self._work.create()
            write_identities(self._work.identities, order.identities)
            if order.phase is PhaseName.PLAN:
                return run_plan(tools)
            run_apply(tools)
            return None

    def _transfer(self, journal: Journal) -> Transfer:
        return Transfer(
            self._spec.server_url,
            token=self._spec.order.task_token,
            ca_file=self._spec.ca_file,
            clock=self._clock,
            say=journal.note,
        )

    def _script(self, spool: ScriptSpool, journal: Journal) -> ScriptJob:
        order = self._spec.order
        if order.script is None:
            raise PhaseError("The order names no script; nothing was run.")
        deadline = Deadline(
            _Surroundings(self._phase, journal),
            seconds=order.script.timeout_seconds,
            clock=self._clock,
        )
        return ScriptJob(
            script=order.script,
            work=self._work.root,
            environment=script_environment(
                self._spec.environment, order.script, task_id=order.task_id
            ),
            spool=spool,
            journal=journal,
            capture=self._capture(spool, deadline, grace=self._spec.limits.plan_grace),
            deadline=deadline,
        )

    def _capture(
        self, spool: SpoolWriter, surroundings: Surroundings, *, grace: float
    ) -> Capture:
        limits = self._spec.limits
        return Capture(
            spool,
            secrets=self._secrets,
            clock=self._clock,
            surroundings=surroundings,
            graces=Graces(
                interrupt=grace,
                terminate=limits.terminate_grace,
                drain=limits.drain_grace,
            ),
            nudge=self._nudge,
        )

    def _tools(self, spool: SpoolWriter, journal: Journal, transfer: Transfer) -> Tools:
        spec, limits = self._spec, self._spec.limits
        apply = spec.order.phase is PhaseName.APPLY
        capture = self._capture(
            spool,
            _Surroundings(self._phase, journal),
            grace=limits.apply_grace if apply else limits.plan_grace,
        )
        terraform = Terraform(
            spec.binary,
            engine=spec.order.engine,
            directory=self._work.module,
            environment=self._environment(),
            capture=capture,
        )
        return Tools(
            spec, self._work, journal, transfer, terraform, self._phase.read_cancel
        )

    def _environment(self) -> dict[str, str]:
        spec, identities = self._spec, self._spec.order.identities
        inherited = without_rivals(spec.environment, identities)
        environment = terraform_environment(inherited, spec.order.variables)
        return environment | identity_environment(self._work.identities, identities)


class _Surroundings:
    """What a capture asks and tells, from a job's files."""

    def __init__(self, phase: PhaseDir, journal: Journal) -> None:
        self._phase = phase
        self._journal = journal

    def cancel_request(self) -> CancelRequest | None:
        """The agent's wish that the phase stop."""
        return self._phase.read_cancel()

    def note(self, text: str) -> None:
        """Say something in the task's log."""
        self._journal.note(text)


def _secrets_of(spec: JobSpec) -> SecretForms:
    order = spec.order
    return secret_forms(
        [
            *sensitive_values(order.variables),
            *(script_secrets(order.script) if order.script else []),
            *identity_secrets(order.identities),
            order.task_token,
            *spec.mask,
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Run the job of a phase directory; returns the process's exit code."""
    for number in _UNHEARD:
        # A handler, not SIG_IGN: what is ignored stays so in terraform, a handler does not.
        signal.signal(number, lambda _number, _frame: None)
    os.umask(0o077)
    phase = PhaseDir(Path(arguments[0]))
    lock = int(arguments[1]) if len(arguments) > 1 else _take_lock(phase)
    os.set_inheritable(lock, False)
    phase.write_pid()
    try:
        spec = JobSpec.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        # Not the error itself: it quotes the spec, which holds secrets.
        _log.error("the spec has %d errors; nothing was run", error.error_count())
        return _NO_SPEC
    Job(phase, spec, SystemClock()).run()
    return 0


def _take_lock(phase: PhaseDir) -> int:
    descriptor = os.open(phase.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
