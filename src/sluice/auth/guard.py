"""The one way in: every route declares a permission, or nobody gets through it."""

import base64
import binascii
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import structlog
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from sluice.auth.model import (
    AgentPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    UserPrincipal,
)
from sluice.auth.policy import Permission, granted
from sluice.base.errors import ForbiddenError, UnauthorizedError
from sluice.edge.described import ATTRIBUTE as DESCRIBED
from sluice.edge.described import Described
from sluice.edge.problems import problem_of

_ATTRIBUTE = "permission"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Authenticates(Protocol):
    """What the guard needs of `Authenticator`; it lies in ``app.state.authenticator``."""

    async def authenticate(self, bearer: str) -> Principal:
        """The caller that ``bearer`` stands for, or UnauthorizedError."""
        ...


def bearer_of(connection: HTTPConnection) -> str:
    """The secret that came with a request: a bearer, or the password of HTTP basic.

    Terraform's `http` backend only speaks basic; the user name is not looked at.
    """
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            return _basic_password(value.strip())
        case _:
            return ""


def _basic_password(encoded: str) -> str:
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise UnauthorizedError(
            "The basic credentials cannot be read; send user:token in base64."
        ) from None
    return decoded.partition(":")[2]


def check(principal: Principal, permission: Permission) -> None:
    """Refuse a caller without ``permission``.

    Raises:
        ForbiddenError: the caller may not do this.
    """
    if permission not in granted(principal):
        raise ForbiddenError(
            f"{principal.actor} lacks the permission `{permission}`; "
            "use a token that has it."
        )


async def authorize(connection: HTTPConnection, permission: Permission) -> Principal:
    """The caller of a request, if it may do this; also kept in ``connection.state``."""
    authenticator: Authenticates = connection.app.state.authenticator
    principal = await authenticator.authenticate(bearer_of(connection))
    connection.state.principal = principal
    _bind(principal)
    check(principal, permission)
    return principal


def principal_of(connection: HTTPConnection) -> Principal:
    """The caller of a request that a guard has let through."""
    principal: Principal = connection.state.principal
    return principal


def _bind(principal: Principal) -> None:
    match principal:
        case TaskPrincipal():
            structlog.contextvars.bind_contextvars(
                task_id=principal.task_id, lease_id=principal.lease_id
            )
        case ResultPrincipal():
            structlog.contextvars.bind_contextvars(
                task_id=principal.task_id, result_id=principal.result_id
            )
        case AgentPrincipal():
            structlog.contextvars.bind_contextvars(agent_id=principal.agent_id)
        case UserPrincipal():
            structlog.contextvars.bind_contextvars(user=principal.name)
        case _:
            structlog.contextvars.bind_contextvars(pool_id=principal.pool_id)


class Required:
    """A FastAPI dependency that gives the caller, if it has ``permission``."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Authenticate and authorize."""
        return await authorize(connection, self.permission)


class RequiredUser(Required):
    """A FastAPI dependency that gives the calling user; others are refused."""

    @override
    async def __call__(self, connection: HTTPConnection) -> UserPrincipal:
        """Authenticate and authorize a user."""
        principal = await authorize(connection, self.permission)
        if not isinstance(principal, UserPrincipal):
            raise ForbiddenError(f"{principal.actor} is no user; use a user's token.")
        return principal


@functools.cache
def require(permission: Permission) -> Required:
    """The dependency for ``Annotated[Principal, Depends(require(Permission.READ))]``."""
    return Required(_not_public(permission))


@functools.cache
def require_user(permission: Permission) -> RequiredUser:
    """As `require`, for routes that only make sense for a user."""
    return RequiredUser(_not_public(permission))


def _not_public(permission: Permission) -> Permission:
    if permission is Permission.PUBLIC:
        raise ValueError("mark a public endpoint with @guarded(Permission.PUBLIC)")
    return permission


def guarded(
    permission: Permission, *, described: Described | None = None
) -> Callable[[Endpoint], Endpoint]:
    """Guard a raw Starlette endpoint ``(request_or_websocket) -> …``.

    The caller is checked before the endpoint runs (for a WebSocket: before the upgrade)
    and found with `principal_of`. `Permission.PUBLIC` only marks the endpoint, and is the
    way to mark a FastAPI endpoint as public, too. ``described`` is its place in the
    OpenAPI document.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, permission)
        if described is not None:
            setattr(endpoint, DESCRIBED, described)
        return endpoint

    def wrap(endpoint: Endpoint) -> Endpoint:
        if permission is Permission.PUBLIC:
            return mark(endpoint)

        @functools.wraps(endpoint)
        async def checked(connection: HTTPConnection) -> object:
            await authorize(connection, permission)
            return await endpoint(connection)

        return mark(checked)  # type: ignore[return-value]

    return wrap


def permission_of(route: BaseRoute) -> Permission | None:
    """What a route declares; None where it declares nothing."""
    declared = _declared(getattr(route, "endpoint", None))
    if declared is None:
        declared = _declared(route)
    if declared is None and isinstance(route, APIRoute | APIWebSocketRoute):
        declared = next(_of_dependencies(route.dependant), None)
    return declared


def _declared(thing: object) -> Permission | None:
    declared = getattr(thing, _ATTRIBUTE, None)
    return declared if isinstance(declared, Permission) else None


def _of_dependencies(dependant: Dependant) -> Iterator[Permission]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Required):
            yield dependency.call.permission
        yield from _of_dependencies(dependency)


def include(app: FastAPI, router: APIRouter) -> None:
    """Put a router's routes into the app, flat, so that each is matched once."""
    app.router.routes.extend(router.routes)


def deny_by_default(routes: Sequence[BaseRoute]) -> list[str]:
    """Close every route that declares no permission; their paths are returned.

    The denial is put in place of the route's own app once, when the server is put
    together: no request pays for it, and a forgotten declaration opens nothing.
    """
    closed = []
    for route in routes:
        if permission_of(route) is not None:
            continue
        closed.append(str(getattr(route, "path", route)))
        if isinstance(route, Route | WebSocketRoute):
            route.app = _denied
        else:
            route.handle = _denied  # type: ignore[method-assign]
    return closed


async def _denied(scope: Scope, receive: Receive, send: Send) -> None:
    error = ForbiddenError(
        "This route declares no permission, so nobody may use it; it is a fault of the server."
    )
    await problem_of(error)(scope, receive, send)
