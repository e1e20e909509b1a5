"""Decides what the results of a stage mean for its task, and says it in words."""

from collections.abc import Sequence

from sluice.runtasks.model import Result
from sluice.tasks.gates import Verdict
from sluice.wire.run_task import EnforcementLevel, ResultStatus, RunTaskStage
from sluice.wire.texts import one_line

FAILURES = frozenset({ResultStatus.FAILED, ResultStatus.ERROR, ResultStatus.TIMEOUT})
"""What counts as a failure: a service that says nothing is none that agrees."""

_WORDS = {
    ResultStatus.PASSED: "passed",
    ResultStatus.FAILED: "failed",
    ResultStatus.ERROR: "could not be asked",
    ResultStatus.TIMEOUT: "did not answer in time",
    ResultStatus.SKIPPED: "was skipped",
    ResultStatus.CANCELED: "was canceled",
}


def stops(result: Result) -> bool:
    """Whether this result keeps its task from going on."""
    return (
        result.level is EnforcementLevel.MANDATORY
        and result.stage is not RunTaskStage.POST_APPLY
        and result.status in FAILURES
        and result.override is None
    )


def verdict(results: Sequence[Result]) -> Verdict | None:
    """What a stage's results come to: the strictest counts. None while one is open."""
    if not all(result.final for result in results):
        return None
    stopping = [result for result in results if stops(result)]
    told = "; ".join(_told(result) for result in stopping)
    return Verdict(not stopping, told, overridable=bool(stopping))


def _told(result: Result) -> str:
    return _with_message(
        f"run task {result.name} (mandatory) {_WORDS[result.status]}", result.message
    )


def log_line(result: Result) -> str:
    """What the task's log says of a final result."""
    said = f"run task {result.name} ({result.level}) {_WORDS[result.status]}"
    return _with_message(said, result.message)


def is_alarming(result: Result) -> bool:
    """Whether the line about a final result is one of an error."""
    return result.level is EnforcementLevel.MANDATORY and result.status in FAILURES


def _with_message(said: str, message: str) -> str:
    """One line that moves no terminal, whatever a service wrote."""
    rest = one_line(message)
    return f"{said}: {rest}" if rest else said
