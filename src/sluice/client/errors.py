"""How a client names what went wrong: the server's problem documents, and what never reached it."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from sluice.base.errors import (
    ForbiddenError,
    RateLimitedError,
    SluiceError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)


class ApiError(SluiceError):
    """The server answered with something this client has no name for."""

    code: ClassVar[str] = "unexpected_answer"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "Unexpected answer"


class UnreachableError(SluiceError):
    """No answer came from the server's address."""

    code: ClassVar[str] = "unreachable"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "Server unreachable"


class StreamBrokenError(SluiceError):
    """A task's live output did not arrive whole, again and again."""

    code: ClassVar[str] = "stream_broken"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "Live output broken"


_NAMED: list[type[SluiceError]] = [SluiceError, *SluiceError.__subclasses__()]
_BY_CODE: Mapping[str, type[SluiceError]] = {error.code: error for error in _NAMED}
# a server's code that this client does not know yet still says its kind by the status
_BY_PROBLEM_STATUS: Mapping[int, type[SluiceError]] = {
    error.status: error for error in reversed(_NAMED)
}
# what a proxy, which writes no problem documents, may say as well as a server
_BY_STATUS: Mapping[int, type[SluiceError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    413: TooLargeError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
_STANDARD = frozenset({"type", "title", "status", "code", "detail", "instance"})


def error_of(status: int, body: bytes, *, what: str) -> SluiceError:
    """The named error of an answer that is no success; ``what`` was asked for."""
    problem = _problem(body)
    code = problem.get("code")
    if isinstance(code, str):
        kind = _BY_CODE.get(code) or _BY_PROBLEM_STATUS.get(status, ApiError)
    else:
        kind = _BY_STATUS.get(status, ApiError)
    detail = problem.get("detail")
    if not isinstance(detail, str) or not detail:
        detail = _detail_without_problem(status, what)
    extra = {
        key: value
        for key, value in problem.items()
        if key not in _STANDARD and isinstance(value, str | int | float | None)
    }
    return kind(detail, **extra)


def _problem(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _detail_without_problem(status: int, what: str) -> str:
    if status in _BY_STATUS and status >= 500:
        return f"{what} was answered with {status}: the server, or the proxy before it, is not ready. Try again."
    if 300 <= status < 400:
        return f"{what} was redirected ({status}); give the address it leads to as the server's URL."
    return f"{what} was answered with {status} and no explanation; check that the URL is that of a Sluice server."
