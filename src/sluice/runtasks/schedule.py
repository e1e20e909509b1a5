"""Decides when a service is called, called again, and given up."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sluice.runtasks.model import Result
from sluice.wire.run_task import ResultStatus

TRIES = 5
ANSWER_SECONDS = 30.0
"""So long a service may take to say that it has taken a call."""
LEASE = timedelta(seconds=45)
"""So long a call belongs to who began it; a crashed caller's is made again later."""
LONGEST = timedelta(minutes=60)
"""A result is a `timeout` so long after its first call, whatever is heard."""
TAKEN = frozenset({200, 201, 202, 204})

_FIRST_DELAY = 15.0
_DELAYS_IN_TIMEOUT = 20
"""With a short time limit the delays are shorter too: all tries together fill 3/4 of it."""
_JITTER = 0.2
_REFUSED_FROM, _REFUSED_TO = 400, 500
_TRY_AGAIN = frozenset({408, 425, 429})


class Answer(StrEnum):
    """What a status code means for a call."""

    TAKEN = "taken"
    REFUSED = "refused"
    FAILED = "failed"


def judge(http_status: int) -> Answer:
    """What the service's status code means: taken, refused for good, or to be tried again."""
    if http_status in TAKEN:
        return Answer.TAKEN
    client_error = _REFUSED_FROM <= http_status < _REFUSED_TO
    if client_error and http_status not in _TRY_AGAIN:
        return Answer.REFUSED
    return Answer.FAILED


@dataclass(frozen=True, slots=True)
class Called:
    """How one call went; ``http_status`` is None where no answer came, ``why`` in words."""

    answer: Answer
    http_status: int | None
    why: str = ""


def begun(result: Result, now: datetime) -> Result:
    """The result while a call is made; the first call starts its time."""
    calling = replace(
        result,
        status=ResultStatus.RUNNING,
        attempts=result.attempts + 1,
        call_lease_until=now + LEASE,
        issued_at=result.issued_at or now,
    )
    if result.started_at is not None:
        return calling
    return replace(
        calling,
        started_at=now,
        timeout_at=now + timedelta(seconds=result.timeout_seconds),
        last_timeout_at=now + LONGEST,
    )


def may_try_again(result: Result, at: datetime) -> bool:
    """Whether another call may be made at ``at``."""
    return result.attempts < TRIES and not timed_out(result, at)


def next_try(result: Result, now: datetime, luck: float) -> datetime:
    """When the next call is due: each wait is twice the last; ``luck`` (0 to 1) spreads them."""
    first = min(_FIRST_DELAY, result.timeout_seconds / _DELAYS_IN_TIMEOUT)
    delay = first * 2 ** max(0, result.attempts - 1)
    return now + timedelta(seconds=delay * (1 + _JITTER * (2 * luck - 1)))


def heard(result: Result, now: datetime) -> Result:
    """The service was heard of: its time starts anew, and it need not be called again."""
    until = now + timedelta(seconds=result.timeout_seconds)
    if result.last_timeout_at is not None:
        until = min(until, result.last_timeout_at)
    return replace(result, next_call_at=None, timeout_at=until)


def timed_out(result: Result, now: datetime) -> bool:
    """Whether the result's time is over; it begins with the first call."""
    return result.timeout_at is not None and now >= result.timeout_at


def is_open(result: Result, now: datetime) -> bool:
    """Whether the service may speak, and its token opens its task's data."""
    return result.status is ResultStatus.RUNNING and not timed_out(result, now)
