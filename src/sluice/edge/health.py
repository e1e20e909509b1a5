"""Whether this process lives (`/healthz`) and whether it can serve (`/readyz`)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sluice.base.errors import UnavailableError
from sluice.edge.described import Content, Described
from sluice.edge.stopping import Stopping

Check = Callable[[], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]
CHECK_SECONDS = 3.0


class Health(msgspec.Struct, frozen=True):
    """That the process answers."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True):
    """Whether the server can serve, and what each of its parts is: up, down, stopping."""

    status: Literal["ready", "not ready"]
    parts: dict[str, Literal["up", "down", "stopping"]]


HEALTH = Described("Alive?", {200: Content("It answers.", record=Health)})
READINESS = Described(
    "Ready?",
    {
        200: Content("Every part that is needed is up.", record=Readiness),
        503: Content("A part is down, or the server stops.", record=Readiness),
    },
)


async def healthz(request: Request) -> Response:
    """200 as long as the process answers at all."""
    return _json(Health("ok"), 200)


def readiness(
    needed: Mapping[str, Check], stopping: Stopping, *, helpful: Mapping[str, Check]
) -> Endpoint:
    """An endpoint that answers 200 when every needed part does, else 503.

    ``helpful`` parts are named, too, and may be down: the server does without them. A
    check fails with UnavailableError; why is for its owner to log, never shown here,
    since the route is public.
    """
    checks = {**needed, **helpful}

    async def readyz(request: Request) -> Response:
        """200 when the server can serve, 503 while it cannot; each part is named."""
        answers = await asyncio.gather(*(_is_up(check) for check in checks.values()))
        up = dict(zip(checks, answers, strict=True))
        parts: dict[str, Literal["up", "down", "stopping"]]
        parts = {name: "up" if ok else "down" for name, ok in up.items()}
        if stopping.begun:
            parts["server"] = "stopping"
        ready = all(up[name] for name in needed) and not stopping.begun
        said = Readiness("ready" if ready else "not ready", parts)
        return _json(said, 200 if ready else 503)

    return readyz


async def _is_up(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except (OSError, TimeoutError, UnavailableError):
        return False
    return True


def _json(value: object, status: int) -> Response:
    return Response(
        msgspec.json.encode(value), status_code=status, media_type="application/json"
    )
