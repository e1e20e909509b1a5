"""The one way in: every route declares a permission, or nobody gets through it."""

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from sluice.auth.access import Access
from sluice.auth.audit_calls import refused
from sluice.auth.credentials import bearer_of
from sluice.auth.model import (
    SITE,
    AgentPrincipal,
    Place,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    UserPrincipal,
)
from sluice.auth.permissions import Permission
from sluice.auth.policy import granted
from sluice.auth.rates import count_caller, count_place
from sluice.auth.trail import Trail
from sluice.base.errors import ForbiddenError, NotFoundError, SluiceError
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.edge.described import ATTRIBUTE as DESCRIBED
from sluice.edge.described import Described
from sluice.edge.problems import problem_of

_ATTRIBUTE = "permission"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def check(principal: Principal, permission: Permission) -> None:
    """Refuse a caller without ``permission``.

    Raises:
        ForbiddenError: the caller may not do this.
    """
    if permission not in granted(principal):
        reason = (
            f"{principal.actor} lacks the permission `{permission}`; "
            "ask an administrator for it, or use a token that has it."
        )
        refused(permission.value, reason)
        raise ForbiddenError(reason)


async def authorize(
    connection: HTTPConnection, permission: Permission, *, late: bool = False
) -> Principal:
    """The caller of a request, if it may do this; also kept in ``connection.state``.

    The place is the one that the path's parameters name, or the query's where the path
    names none. A route whose place is known only ``late``, from its body, gets a caller
    who may do nothing yet, and asks `permit` before it does anything.

    Raises:
        UnauthorizedError: no valid credentials.
        NotFoundError: the place is not there, or hidden from the caller.
        ForbiddenError: the caller may not do this there.
    """
    state = connection.app.state
    principal = await state.authenticator.authenticate(bearer_of(connection))
    connection.state.principal = principal
    connection.state.permission = permission
    _bind(principal)
    await count_caller(connection, principal)
    if late and isinstance(principal, UserPrincipal | PoolPrincipal):
        return principal
    trail: Trail = state.trail
    access: Access = state.access
    place = SITE
    try:
        principal, place = await access.enter(principal, _named(connection, access))
        check(principal, permission)
    except SluiceError as error:
        await trail.denied(connection, principal, permission, error, place=place)
        raise
    connection.state.principal = principal
    connection.state.place = place
    await count_place(connection, principal, place)
    trail.begin(connection, principal, permission, place)
    return principal


async def permit(
    connection: HTTPConnection, place: Place, permission: Permission | None = None
) -> Principal:
    """The caller with what they may do at ``place``, for a route that learns it late.

    Args:
        connection: the request, past its guard.
        place: what the request's body names.
        permission: by default the one that the route declares.

    Raises:
        NotFoundError: the place is hidden from the caller.
        ForbiddenError: the caller may not do this there.
    """
    access: Access = connection.app.state.access

    async def at_place() -> tuple[Principal, Place]:
        return await access.at(principal_of(connection), place), place

    return await _permit(connection, at_place(), permission)


async def permit_named(
    connection: HTTPConnection,
    permission: Permission | None = None,
    **named: str,
) -> Principal:
    """As `permit`, for a place that is known by the name or id of something in it.

    Args:
        connection: the request, past its guard.
        permission: by default the one that the route declares.
        named: values by the names that parameters in paths have, such as
            ``organization="acme"``.

    Raises:
        NotFoundError: something named is not there, or hidden from the caller.
        ForbiddenError: the caller may not do this there.
    """
    access: Access = connection.app.state.access
    known = {name: value for name, value in named.items() if name in access.names}
    entering = access.enter(principal_of(connection), known)
    return await _permit(connection, entering, permission)


async def _permit(
    connection: HTTPConnection,
    entering: Awaitable[tuple[Principal, Place]],
    permission: Permission | None,
) -> Principal:
    trail: Trail = connection.app.state.trail
    principal = principal_of(connection)
    wanted: Permission = permission or connection.state.permission
    place = SITE
    try:
        principal, place = await entering
        check(principal, wanted)
    except SluiceError as error:
        await trail.denied(connection, principal, wanted, error, place=place)
        raise
    connection.state.principal = principal
    connection.state.place = place
    await count_place(connection, principal, place)
    trail.begin(connection, principal, wanted, place)
    return principal


async def may_read(connection: HTTPConnection, **named: str) -> bool:
    """Whether the caller may read what is named as for `permit_named`; nothing is noted."""
    access: Access = connection.app.state.access
    known = {name: value for name, value in named.items() if name in access.names}
    try:
        principal, _ = await access.enter(principal_of(connection), known)
    except NotFoundError:
        return False
    return Permission.READ in granted(principal)


async def visible_workspaces(
    connection: HTTPConnection,
) -> frozenset[WorkspaceId] | None:
    """The workspaces that lists may show the caller of the request's organization.

    None for all.
    """
    access: Access = connection.app.state.access
    place: Place = connection.state.place
    return await access.visible_workspaces(principal_of(connection), place)


async def visible_organizations(
    connection: HTTPConnection,
) -> frozenset[OrganizationId] | None:
    """The organizations that lists may show the caller; None for all."""
    access: Access = connection.app.state.access
    return await access.visible_organizations(principal_of(connection))


def _named(connection: HTTPConnection, access: Access) -> Mapping[str, str]:
    """The parameters that say where; those of a query where the path has none."""
    in_path = {
        name: str(value)
        for name, value in connection.path_params.items()
        if name in access.names
    }
    return in_path or {
        name: value
        for name, value in connection.query_params.items()
        if name in access.names
    }


def principal_of(connection: HTTPConnection) -> Principal:
    """The caller of a request that a guard has let through."""
    principal: Principal = connection.state.principal
    return principal


def place_of(connection: HTTPConnection) -> Place:
    """Where a request does what it does, once a guard has let it through."""
    place: Place = connection.state.place
    return place


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

    def __init__(self, permission: Permission, *, late: bool) -> None:
        self.permission = permission
        self.late = late

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Authenticate and authorize."""
        return await authorize(connection, self.permission, late=self.late)


class RequiredUser(Required):
    """A FastAPI dependency that gives the calling user; others are refused."""

    @override
    async def __call__(self, connection: HTTPConnection) -> UserPrincipal:
        """Authenticate and authorize a user."""
        principal = await authorize(connection, self.permission, late=self.late)
        if not isinstance(principal, UserPrincipal):
            raise ForbiddenError(f"{principal.actor} is no user; use a user's token.")
        return principal


@functools.cache
def require(permission: Permission, *, late: bool = False) -> Required:
    """The dependency for ``Annotated[Principal, Depends(require(Permission.READ))]``.

    With ``late`` the route asks `permit` itself, once it knows the place.
    """
    return Required(_not_public(permission), late=late)


@functools.cache
def require_user(permission: Permission, *, late: bool = False) -> RequiredUser:
    """As `require`, for routes that only make sense for a user."""
    return RequiredUser(_not_public(permission), late=late)


def _not_public(permission: Permission) -> Permission:
    if permission is Permission.PUBLIC:
        raise ValueError("mark a public endpoint with @guarded(Permission.PUBLIC)")
    return permission


def guarded(
    permission: Permission, *, described: Described | None = None, late: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Guard a raw Starlette endpoint ``(request_or_websocket) -> …``.

    The caller is checked before the endpoint runs (for a WebSocket: before the upgrade)
    and found with `principal_of`. `Permission.PUBLIC` only marks the endpoint, and is the
    way to mark a FastAPI endpoint as public, too. ``described`` is its place in the
    OpenAPI document. With ``late`` the endpoint asks `permit` itself.
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
            await authorize(connection, permission, late=late)
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
