"""The stages of a plan and of an apply, in order (spec/1, "Stages")."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluice.base.errors import SluiceError
from sluice.runner.job_journal import Journal
from sluice.runner.job_spec import JobSpec
from sluice.runner.job_state import (
    fingerprint,
    keep_state,
    newest_state,
    state_problem,
)
from sluice.runner.job_terraform import Terraform
from sluice.runner.job_transfer import Transfer, TransferError
from sluice.runner.job_work import PLAN_FILE, WorkDir
from sluice.runner.phase_dir import CancelRequest
from sluice.runner.phase_error import PhaseError, canceled
from sluice.terraform.arguments import (
    apply_arguments,
    init_arguments,
    plan_arguments,
    show_arguments,
)
from sluice.wire.events import Stage

_HAS_CHANGES = 2
_NO_STATE = (
    "Terraform ended before it wrote its state: what it had begun to create is in no"
    " state. Look for it in the infrastructure before anything else is applied there."
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the stages work with."""

    spec: JobSpec
    work: WorkDir
    journal: Journal
    transfer: Transfer
    terraform: Terraform
    cancel_request: Callable[[], CancelRequest | None]


class StateDivergedError(Exception):
    """The state of an apply is not on the server; the message says where it is.

    Args:
        sentence: what happened and what to do.
        in_work: whether it could not even be taken out of the work directory.
        kept: whether there is one, on the agent.
    """

    def __init__(
        self, sentence: str, *, in_work: bool = False, kept: bool = True
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.in_work = in_work
        self.kept = kept


def run_plan(tools: Tools) -> bool:
    """Plan, and store plan file and plan JSON; returns whether there are changes.

    Raises:
        PhaseError: the plan failed or was cancelled.
    """
    work, order = tools.work, tools.spec.order
    with _stage(tools, Stage.FETCHING):
        _fetch(tools)
        work.write_variables(order.variables)
    with _stage(tools, Stage.INIT):
        _init(tools)
    with _stage(tools, Stage.PLANNING):
        arguments = plan_arguments(
            order.options, plan_file=PLAN_FILE, var_file=str(work.var_file)
        )
        code = tools.terraform.run(
            arguments, succeeds_with=frozenset({0, _HAS_CHANGES})
        )
    with _stage(tools, Stage.SAVING_PLAN):
        tools.terraform.run(
            show_arguments(plan_file=PLAN_FILE), stdout_file=work.plan_json
        )
        _upload(tools, order.plan_url, work.plan, "the plan file")
        _upload(tools, order.plan_json_url, work.plan_json, "the plan as JSON")
    return code == _HAS_CHANGES


def run_apply(tools: Tools) -> None:
    """Apply the saved plan and store the state, even where the apply failed.

    Raises:
        PhaseError: the apply failed or was cancelled; its state is stored.
        StateDivergedError: the state could not be stored; its context is the apply's
            `PhaseError` where that failed too.
    """
    work, order = tools.work, tools.spec.order
    with _stage(tools, Stage.FETCHING):
        _fetch(tools)
        if not _download(tools, order.plan_url, work.saved_plan, "the saved plan"):
            raise PhaseError("The server has no saved plan of this task; plan again.")
        work.restore_lock_file()
    with _stage(tools, Stage.INIT):
        _init(tools)
    with _stage(tools, Stage.RESTORING_PLAN):
        work.restore_plan()
    before = fingerprint(work.state)
    try:
        with _stage(tools, Stage.APPLYING):
            tools.terraform.run(apply_arguments(plan_file=PLAN_FILE))
    finally:
        with tools.journal.stage(Stage.SAVING_STATE):
            _save_state(tools, before)


@contextmanager
def _stage(tools: Tools, stage: Stage) -> Iterator[None]:
    """A stage that is not begun once the phase was cancelled, and tells why it failed."""
    request = tools.cancel_request()
    if request is not None:
        stopped = canceled(request.reason)
        tools.journal.note(stopped.sentence)
        raise stopped
    with tools.journal.stage(stage):
        try:
            yield
        except PhaseError as error:
            tools.journal.problem(error.sentence)
            raise
        except SluiceError as error:
            tools.journal.problem(error.detail)
            raise PhaseError(error.detail) from error
        except TransferError as error:
            tools.journal.problem(str(error))
            raise _transfer_failure(tools, error) from error


def _fetch(tools: Tools) -> None:
    """Fetch configuration and state, and lay them out."""
    work, order = tools.work, tools.spec.order
    if not _download(tools, order.configuration_url, work.archive, "the configuration"):
        raise PhaseError("The workspace has no configuration; upload one.")
    work.unpack()
    _download(tools, order.state_url, work.state, "the state")


def _init(tools: Tools) -> None:
    if tools.spec.binary_problem:
        raise PhaseError(tools.spec.binary_problem)
    tools.terraform.run(init_arguments())


def _download(tools: Tools, url: str, target: Path, what: str) -> bool:
    return tools.transfer.download(
        url,
        target,
        what=what,
        deadline=tools.spec.limits.fetch_deadline,
        keep_trying=lambda: tools.cancel_request() is None,
    )


def _upload(tools: Tools, url: str, source: Path, what: str) -> None:
    tools.transfer.upload(
        url,
        source,
        what=what,
        deadline=tools.spec.limits.upload_deadline,
        keep_trying=lambda: tools.cancel_request() is None,
    )


def _transfer_failure(tools: Tools, error: TransferError) -> PhaseError:
    request = tools.cancel_request()
    return canceled(request.reason) if request else PhaseError(str(error))


def _save_state(tools: Tools, before: str) -> None:
    """Store the state if the apply changed it; a cancel does not stop this."""
    work = tools.work
    state = newest_state(work.module, work.state)
    if fingerprint(state) in {"", before}:
        return
    if not state.stat().st_size:
        # the file is made when terraform begins, and filled with the first resource
        tools.journal.problem(_NO_STATE)
        raise StateDivergedError(_NO_STATE, kept=False)
    problem = state_problem(state)
    if problem:
        problem = f"The state that terraform left cannot be stored: {problem}."
    else:
        try:
            tools.transfer.upload(
                tools.spec.order.state_url,
                state,
                what="the state",
                deadline=tools.spec.limits.upload_deadline,
                keep_trying=lambda: True,
            )
            return
        except TransferError as error:
            problem = str(error)
    diverged = _keep(tools, state, problem)
    tools.journal.problem(diverged.sentence)
    raise diverged


def _keep(tools: Tools, state: Path, problem: str) -> StateDivergedError:
    order = tools.spec.order
    try:
        kept = keep_state(
            state,
            kept_dir=Path(tools.spec.state_kept_dir),
            workspace_id=order.workspace_id,
            task_id=order.task_id,
        )
    except OSError as error:
        return StateDivergedError(
            f"{problem} It could not be set aside either ({error.strerror}): it is still"
            f" at {state} on the agent. Copy it from there at once.",
            in_work=True,
        )
    return StateDivergedError(
        f"{problem} The state is kept on the agent at {kept}; upload it to the workspace"
        " before anything else is applied there."
    )
