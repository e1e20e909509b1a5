"""Every error leaves as a problem document (RFC 9457, `application/problem+json`)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from sluice.base.errors import (
    Extra,
    NotFoundError,
    RateLimitedError,
    SluiceError,
    TooLargeError,
    UnauthorizedError,
)
from sluice.edge.security_headers import HEADERS

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sluice:problem:"

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
_TITLES = {413: TooLargeError.title}
# what FastAPI says of a body whose bytes are no text, or too deep or too long a number
_UNREADABLE = "There was an error parsing the body"
_logger = structlog.get_logger(__name__)

PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request failed; some problems have members of their own beside these.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": f"`{TYPE_PREFIX}` and the code."},
        "title": {"type": "string", "description": "The kind of problem in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "code": {"type": "string", "description": "The kind, for programs; stable."},
        "detail": {
            "type": "string",
            "description": "What happened, to what, and what to do.",
        },
        "errors": {
            "type": "array",
            "description": "Each field that cannot be taken, of a body or query.",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
"""A problem document as a JSON schema, for the OpenAPI document."""


def problem(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    extra: Mapping[str, Extra] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; ``extra`` members stand beside the standard ones."""
    document = {
        **(extra or {}),
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return Response(
        msgspec.json.encode(document),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def problem_of(error: SluiceError) -> Response:
    """The problem document of a named error."""
    headers = {}
    if isinstance(error, UnauthorizedError):
        headers["www-authenticate"] = 'Bearer realm="sluice"'
    retry_after = error.extra.get("retry_after")
    if isinstance(error, RateLimitedError) and isinstance(retry_after, int | float):
        headers["retry-after"] = str(max(1, round(retry_after)))
    return problem(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        extra=error.extra,
        headers=headers,
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` leave as a problem document."""
    app.add_exception_handler(SluiceError, _on_sluice_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)
    nothing_there = app.router.default

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Starlette would only say 403, and nothing of why
            error = NotFoundError(
                f"There is no WebSocket at {scope['path']}; check the path."
            )
            await problem_of(error)(scope, receive, send)
        else:
            await nothing_there(scope, receive, send)

    app.router.default = default


async def _on_sluice_error(connection: Request, error: Exception) -> Response:
    if not isinstance(error, SluiceError):
        raise error
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("request failed", code=error.code, detail=error.detail)
    return problem_of(error)


async def _on_validation_error(connection: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [_fault(fault) for fault in error.errors()]
    first = faults[0] if faults else {"field": "body", "message": "cannot be read"}
    return problem(
        status=422,
        code="invalid_input",
        title="Invalid input",
        detail=f"{first['field']}: {first['message']}"
        + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""),
        extra={"errors": faults},
    )


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with one field; what is no JSON at all is the body's fault."""
    if fault["type"] == "json_invalid":
        reason = fault.get("ctx", {}).get("error", "it cannot be read")
        return {
            "field": "body",
            "message": f"This is no JSON: {reason}, at character {fault['loc'][-1]}",
        }
    return {
        "field": _field(fault["loc"]),
        "message": str(fault["msg"]).removeprefix("Value error, "),
    }


def _field(location: tuple[str | int, ...]) -> str:
    """``body.labels.region``, without the leading ``body`` where more follows."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:]) if len(parts) > 1 else ".".join(parts)


async def _on_http_exception(connection: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    detail = str(error.detail)
    if status == HTTPStatus.BAD_REQUEST and detail == _UNREADABLE:
        detail = "The body cannot be read; send JSON in UTF-8."
    if status == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {connection.url.path}; check the path."
    headers = error.headers
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{connection.url.path} does not take this method."
        headers = {"allow": ", ".join(_methods_at(connection))}
    return problem(
        status=status,
        code=_CODES.get(status, "error"),
        title=_TITLES.get(status, HTTPStatus(status).phrase),
        detail=detail,
        headers=headers,
    )


def _methods_at(connection: HTTPConnection) -> list[str]:
    """What the path takes: Starlette names the methods of its first route alone."""
    routes = [
        route
        for route in connection.app.router.routes
        if isinstance(route, Route)
        and route.matches(connection.scope)[0] is not Match.NONE
    ]
    # `/agents/register` is no agent's path, though it looks like one
    nearest = min(len(route.param_convertors) for route in routes)
    found: set[str] = set()
    for route in routes:
        if len(route.param_convertors) == nearest:
            found |= route.methods or set()
    return sorted(found)


async def _on_disconnect(connection: Request, error: Exception) -> Response:
    """Nobody is there to read the answer; it is for the counters."""
    return problem(
        status=400,
        code="bad_request",
        title="Bad request",
        detail="The connection was closed before the body was whole; send it again.",
    )


async def _on_unexpected(connection: HTTPConnection, error: Exception) -> Response:
    _logger.error("request crashed", path=connection.url.path, exc_info=error)
    return problem(
        status=500,
        code="internal",
        title="Internal error",
        detail="The server met a fault of its own; its log says more.",
        # this answer leaves around all layers
        headers=HEADERS,
    )
