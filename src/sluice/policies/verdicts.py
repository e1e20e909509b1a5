"""Decides from what policies say whether a task may go on, and puts it into words."""

from collections.abc import Sequence

from sluice.policies.model import FindingKind, PolicyResult, PolicyStatus
from sluice.tasks.gates import Verdict

SHOWN = 3
"""So many messages of one policy stand in a line; all of them are in its result."""
_LONGEST = 300


def verdict(results: Sequence[PolicyResult]) -> Verdict:
    """The strictest counts: a mandatory policy that failed, or could not be judged, stops."""
    stopping = [result for result in results if result.stops]
    if not stopping:
        return Verdict(passed=True)
    which = "; ".join(f"{result.name}: {_why(result)}" for result in stopping)
    number = "a mandatory policy" if len(stopping) == 1 else "mandatory policies"
    return Verdict(passed=False, text=f"stopped by {number}: {which}")


def log_line(result: PolicyResult) -> str:
    """What a task's log says of one policy."""
    head = f"policy {result.name} ({result.level}) "
    match result.status:
        case PolicyStatus.PASSED:
            warned = _messages(result)
            return f"{head}passed" + (f" with warnings: {warned}" if warned else "")
        case PolicyStatus.FAILED:
            return f"{head}failed: {_why(result)}"
        case PolicyStatus.ERROR:
            return f"{head}could not be judged: {_cut(result.error)}"
        case PolicyStatus.PENDING | PolicyStatus.SKIPPED | PolicyStatus.CANCELED:
            return f"{head}{result.status}"


def _why(result: PolicyResult) -> str:
    if result.status is PolicyStatus.ERROR:
        return f"could not be judged ({_cut(result.error)})"
    return _messages(result)


def _messages(result: PolicyResult) -> str:
    """The messages that matter most, and how many more there are."""
    failed = result.status is PolicyStatus.FAILED
    kind = FindingKind.DENY if failed else FindingKind.WARN
    texts = [_cut(item.message) for item in result.findings if item.kind is kind]
    more = len(texts) - SHOWN + result.left_out
    shown = ", ".join(texts[:SHOWN])
    return f"{shown}, and {more} more" if more > 0 else shown


def _cut(text: str) -> str:
    """One line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
