"""Decides what an answer means, and when a message is tried again or given up."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sluice.notifications.model import Delivery
from sluice.wire.notification import DeliveryStatus

TRIES = 6
SEND_SECONDS = 15.0
"""So long one try may take, with all waiting."""
LEASE = timedelta(seconds=60)
"""So long a try belongs to who began it; a crashed server's is made again later."""

_FIRST_DELAY = 30.0
_FACTOR = 3
"""30 seconds, then 1.5, 4.5, 13.5 and 40.5 minutes: an hour in all."""
_JITTER = 0.2
_TRY_AGAIN = frozenset({408, 409, 425, 429})
_GOOD_FROM, _GOOD_TO = 200, 300
_REDIRECT_TO = 400
_LATER_FROM = 500


class Outcome(StrEnum):
    """What came of one try."""

    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tried:
    """How one try went; ``why`` says in words why it was not taken."""

    outcome: Outcome
    status_code: int | None = None
    why: str = ""


def judge_http(status_code: int) -> Tried:
    """What an HTTP answer means: taken, refused for good, or to be tried again."""
    if _GOOD_FROM <= status_code < _GOOD_TO:
        return Tried(Outcome.SENT, status_code)
    why = f"it answered with {status_code}"
    if status_code >= _LATER_FROM or status_code in _TRY_AGAIN:
        return Tried(Outcome.FAILED, status_code, why)
    if _GOOD_TO <= status_code < _REDIRECT_TO:
        why += "; redirects are not followed, so set the address that it leads to"
    return Tried(Outcome.REFUSED, status_code, why)


def begun(delivery: Delivery, now: datetime) -> Delivery:
    """The message while it is tried."""
    return replace(delivery, attempts=delivery.attempts + 1, last_at=now)


def concluded(
    delivery: Delivery, tried: Tried, now: datetime, *, luck: float
) -> Delivery:
    """The message after a try; ``luck`` (0 to 1) spreads the next ones of many messages."""
    seen = replace(delivery, status_code=tried.status_code, message=tried.why)
    if tried.outcome is Outcome.SENT:
        return replace(
            seen, status=DeliveryStatus.DELIVERED, next_at=None, completed_at=now
        )
    if tried.outcome is Outcome.FAILED and delivery.attempts < TRIES:
        return replace(seen, next_at=_next_try(delivery.attempts, now, luck))
    return replace(seen, status=DeliveryStatus.FAILED, next_at=None, completed_at=now)


def anew(delivery: Delivery, now: datetime) -> Delivery:
    """The message, to be sent again from the first try on, under the same id."""
    return replace(
        delivery,
        status=DeliveryStatus.PENDING,
        attempts=0,
        next_at=now,
        status_code=None,
        message="",
        completed_at=None,
    )


def _next_try(attempts: int, now: datetime, luck: float) -> datetime:
    delay = _FIRST_DELAY * _FACTOR ** max(0, attempts - 1)
    return now + timedelta(seconds=delay * (1 + _JITTER * (2 * luck - 1)))
