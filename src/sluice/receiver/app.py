"""The service's HTTP face: one route for calls, one for those who look after it."""

from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sluice.base.clock import Clock
from sluice.base.errors import (
    InvalidInputError,
    SluiceError,
    TooLargeError,
    UnavailableError,
)
from sluice.receiver.calls import (
    Call,
    Trust,
    check_addresses,
    check_host,
    check_signature,
    read_call,
)
from sluice.receiver.jobs import Jobs, Taken

_MAX_CALL_BYTES = 1024 * 1024
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """Lets the platform's calls in, and no others."""

    trust: Trust
    jobs: Jobs
    clock: Clock

    async def called(self, request: Request) -> Response:
        """Take a call; 200 before any work is done."""
        check_host(self.trust, request.headers.get("host", ""))
        # a page of another site could make a browser send anything else unasked
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise InvalidInputError("A call is JSON; its Content-Type must say so.")
        body = await _body(request)
        check_signature(self.trust, request.headers, body, self.clock.now())
        call = read_call(body)
        if call.verifies:
            _log.info("verified by the platform")
            return JSONResponse({"status": "verified"})
        check_addresses(self.trust, call)
        return JSONResponse({"status": self._taken(call)})

    def _taken(self, call: Call) -> Taken:
        taken = self.jobs.take(call)
        _log.info(
            "called", result=call.task_result_id, stage=call.stage, taken=taken.value
        )
        if taken in {Taken.FULL, Taken.STOPPING}:
            raise UnavailableError(f"No more calls are taken just now ({taken}).")
        return taken


def new_app(door: Door) -> Starlette:
    """The application; calls are taken under any path."""
    return Starlette(
        routes=[
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/{path:path}", door.called, methods=["POST"]),
        ],
        exception_handlers={SluiceError: _refused, HTTPException: _unknown},
    )


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_CALL_BYTES:
            raise TooLargeError(f"A call has at most {_MAX_CALL_BYTES} bytes.")
    return bytes(body)


async def _refused(_: Request, error: Exception) -> Response:
    status, detail = 500, str(error)
    if isinstance(error, SluiceError):
        status = error.status
    _log.warning("refused a call", status=status, detail=detail)
    return JSONResponse({"detail": detail}, status_code=status)


async def _unknown(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = "Run task calls are sent with POST."
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
