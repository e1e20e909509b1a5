"""Every error a person can meet: a stable code, an HTTP status, and a message that says what to do.

The class is the documentation: `docs/reference/errors.md` is written from these classes.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

Extra = str | int | float | Sequence[Mapping[str, str]] | None
"""A machine-readable member of a problem document."""


class SluiceError(Exception):
    """Something went wrong that has a name.

    Args:
        detail: what happened, to what, and what to do, in one or two sentences.
        extra: machine-readable members for the problem document, e.g. ``committed``.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **extra: Extra) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class InvalidInputError(SluiceError):
    """The request was understood and cannot be taken as it is; the detail names the field."""

    code = "invalid_input"
    status = 422
    title = "Invalid input"


class UnauthorizedError(SluiceError):
    """No valid credentials came with the request."""

    code = "unauthorized"
    status = 401
    title = "Not signed in"


class ForbiddenError(SluiceError):
    """The caller is known and may not do this."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class NotFoundError(SluiceError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"
    status = 404
    title = "Not found"


class ConflictError(SluiceError):
    """The thing is in a state in which this cannot be done; the detail names the state."""

    code = "conflict"
    status = 409
    title = "Conflict"


class LockedError(SluiceError):
    """The workspace's lock is held by someone else; the detail names the holder."""

    code = "locked"
    status = 423
    title = "Locked"


class GoneError(SluiceError):
    """It was here, and its time is over."""

    code = "gone"
    status = 410
    title = "Gone"


class FencedError(SluiceError):
    """The sender's lease is no longer the current one: another holder has taken over."""

    code = "fenced"
    status = 409
    title = "Lease superseded"


class TooLargeError(SluiceError):
    """The body is larger than the setting allows; the detail names the limit."""

    code = "too_large"
    status = 413
    title = "Too large"


class RateLimitedError(SluiceError):
    """Too many at once or too many a minute; the detail names the limit and the setting."""

    code = "rate_limited"
    status = 429
    title = "Too many"


class UnavailableError(SluiceError):
    """A part the server needs is away; trying again later is right."""

    code = "unavailable"
    status = 503
    title = "Unavailable"
