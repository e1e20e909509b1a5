"""What a service says of a task: findings, their weight, and the verdict they make."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How much a finding matters; `unrated` where a scanner does not say."""

    UNRATED = "unrated"
    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(StrEnum):
    """What a finding does: `failed` and `error` fail the review, `warning` does not."""

    FAILED = "failed"
    WARNING = "warning"
    ERROR = "error"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One finding as it is shown; ``body`` is Markdown."""

    outcome_id: str
    description: str
    status: Status = Status.FAILED
    severity: Severity | None = None
    body: str = ""
    url: str = ""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one call."""

    passed: bool
    message: str
    outcomes: list[Outcome] = []


def failed(message: str) -> Review:
    """A review that could not be made; where nothing was looked at, nothing passes."""
    return Review(passed=False, message=message)


def counted(number: int, noun: str) -> str:
    """``1 rule``, ``2 rules``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
