"""Writes callbacks as HCP Terraform takes them, within its limits."""

from typing import Any

from sluice.receiver.model import Outcome, Review, Severity, Status, counted
from sluice.wire.run_task import ResultStatus, TagLevel, encode_payload

MAX_OUTCOMES = 250
MAX_MESSAGE = 1000
_MAX_ID = 64
_MAX_DESCRIPTION = 500
_MAX_BODY = 10_000
_MAX_URL = 500
_CUT = " …"

_STATUS_TAGS = {
    Status.FAILED: ("Failed", TagLevel.ERROR),
    Status.ERROR: ("Error", TagLevel.ERROR),
    Status.WARNING: ("Warning", TagLevel.WARNING),
}
_SEVERITY_LEVELS = {
    Severity.CRITICAL: TagLevel.ERROR,
    Severity.HIGH: TagLevel.ERROR,
    Severity.MEDIUM: TagLevel.WARNING,
    Severity.LOW: TagLevel.INFO,
    Severity.INFO: TagLevel.INFO,
    Severity.UNRATED: TagLevel.NONE,
}
_GRAVEST_FIRST = [*reversed(Severity), None]


def progress_body(message: str) -> bytes:
    """A callback that says how far the work is."""
    return _body(ResultStatus.RUNNING, message, [])


def review_body(review: Review) -> bytes:
    """The callback that ends a result: the gravest findings first."""
    status = ResultStatus.PASSED if review.passed else ResultStatus.FAILED
    return _body(status, review.message, shown(review.outcomes))


def shown(outcomes: list[Outcome]) -> list[Outcome]:
    """As many outcomes as a callback may have, the gravest first; the last tells of the rest."""
    ordered = sorted(outcomes, key=_gravity)
    if len(ordered) <= MAX_OUTCOMES:
        return ordered
    kept = ordered[: MAX_OUTCOMES - 1]
    rest = Outcome(
        outcome_id="more",
        description=f"{counted(len(ordered) - len(kept), 'more finding')} not shown.",
        status=ordered[MAX_OUTCOMES - 1].status,
    )
    return [*kept, rest]


def _gravity(outcome: Outcome) -> tuple[bool, int]:
    return (
        outcome.status is Status.WARNING,
        _GRAVEST_FIRST.index(outcome.severity),
    )


def _body(status: ResultStatus, message: str, outcomes: list[Outcome]) -> bytes:
    data: dict[str, Any] = {
        "type": "task-results",
        "attributes": {
            "status": status.value,
            "message": _cut(message, MAX_MESSAGE) or status.value,
        },
    }
    if outcomes:
        listed = [_outcome(outcome) for outcome in outcomes]
        data["relationships"] = {"outcomes": {"data": listed}}
    return encode_payload({"data": data})


def _outcome(outcome: Outcome) -> dict[str, Any]:
    label, level = _STATUS_TAGS[outcome.status]
    tags = {"Status": [{"label": label, "level": level.value}]}
    if outcome.severity is not None:
        level = _SEVERITY_LEVELS[outcome.severity]
        name = outcome.severity.value.capitalize()
        tags["Severity"] = [{"label": name, "level": level.value}]
    attributes: dict[str, Any] = {
        "outcome-id": outcome.outcome_id[:_MAX_ID],
        "description": _cut(outcome.description, _MAX_DESCRIPTION),
        "tags": tags,
    }
    if outcome.body:
        attributes["body"] = _cut(outcome.body, _MAX_BODY)
    if outcome.url and len(outcome.url) <= _MAX_URL:
        attributes["url"] = outcome.url
    return {"type": "task-result-outcomes", "attributes": attributes}


def _cut(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode()  # no lone surrogates
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT
