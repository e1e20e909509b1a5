"""Walks the route table: nobody gets in without a token, except where it is said here."""

import re
from collections.abc import Iterator

import httpx2
import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sluice.auth.guard import permission_of
from sluice.auth.permissions import Permission
from sluice.edge.stopping import Stopping
from sluice.server.app import build_app
from sluice.server.concepts import build_concepts
from sluice.server.parts import open_parts
from sluice.server.serving import Serving
from sluice.server.settings import ServerSettings
from tests.server.conftest import signed_in

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/embed.js"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/jwks"),
    ("POST", "/api/v1/auth/setup"),
    # signing in itself
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/login/token"),
    ("GET", "/api/v1/auth/methods"),
    ("GET", "/api/v1/auth/oidc/login"),
    ("GET", "/api/v1/auth/oidc/callback"),
    # by the token of the result, which the routes check themselves
    ("PATCH", "/api/v1/task-results/{result_id}/callback"),
    ("PATCH", "/api/v1/run-task-results/{result_id}/callback"),
}


@pytest.fixture
async def routes(settings: ServerSettings) -> list[BaseRoute]:
    parts = open_parts(settings)
    app = build_app(parts, build_concepts(parts), Stopping(lambda: None))
    await parts.close()
    return list(app.router.routes)


def calls(routes: list[BaseRoute]) -> Iterator[tuple[str, str, BaseRoute]]:
    """Method and path of every HTTP route."""
    for route in routes:
        if isinstance(route, Route):
            for method in sorted(route.methods or ()):
                if method != "HEAD":
                    yield method, route.path, route


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "x-1", path)


async def test_every_route_declares_a_permission(routes: list[BaseRoute]) -> None:
    kinds = {type(route).__name__ for route in routes}
    assert kinds <= {"APIRoute", "Route", "WebSocketRoute", "APIWebSocketRoute"}
    assert [
        getattr(route, "path", route) for route in routes if not permission_of(route)
    ] == []
    assert len(routes) > 40


async def test_exactly_the_listed_routes_are_public(routes: list[BaseRoute]) -> None:
    found = {
        (method, path)
        for method, path, route in calls(routes)
        if permission_of(route) is Permission.PUBLIC
    }
    assert found == PUBLIC
    sockets = [route for route in routes if isinstance(route, WebSocketRoute)]
    assert all(permission_of(route) is not Permission.PUBLIC for route in sockets)


@pytest.mark.parametrize("token", ["", "slu_unknown", "not.a.jwt"])
async def test_every_other_route_refuses_who_is_not_signed_in(
    routes: list[BaseRoute], client: httpx2.AsyncClient, token: str
) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    let_in = []
    for method, path, _ in calls(routes):
        if (method, path) in PUBLIC:
            continue
        answer = await client.request(method, filled(path), headers=headers)
        if answer.status_code != 401:
            let_in.append((method, path, answer.status_code))
    assert let_in == []


async def test_sockets_refuse_before_the_upgrade(
    routes: list[BaseRoute], server: Serving
) -> None:
    address = server.url.replace("http", "ws", 1)
    sockets = [route for route in routes if isinstance(route, WebSocketRoute)]
    for route in sockets:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address + filled(route.path), proxy=None):
                pass
        assert refused.value.response.status_code == 401
        assert b"unauthorized" in refused.value.response.body


async def test_a_socket_that_is_not_there_is_not_found(server: Serving) -> None:
    address = server.url.replace("http", "ws", 1)
    for path in ("/ws/nothing", "/healthz"):
        status, body = await answered(address + path, ["sluice.v1"], server.url)
        assert status == 404
        assert f"no WebSocket at {path}" in body


async def answered(address: str, protocols: list[str], origin: str) -> tuple[int, str]:
    """Status and body with which a handshake is answered; 101 where it is taken."""
    try:
        async with connect(
            address,
            subprotocols=protocols,  # type: ignore[arg-type]
            additional_headers={"Origin": origin},
            proxy=None,
        ):
            return 101, ""
    except InvalidStatus as refused:
        response = refused.response
        return response.status_code, bytes(response.body or b"").decode()


async def test_every_socket_knows_pages(
    routes: list[BaseRoute], server: Serving
) -> None:
    """A page's token comes as a sub-protocol, and only pages of known origins get in."""
    address = server.url.replace("http", "ws", 1)
    async with signed_in(server) as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
    sockets = [route for route in routes if isinstance(route, WebSocketRoute)]
    assert sockets
    for route in sockets:
        path = address + filled(route.path)
        offered = ["sluice.v1", f"bearer.{token}"]
        status, body = await answered(path, offered, server.url)
        # known, and told that there is no such task or that it is not theirs to write
        assert status in {403, 404, 422}, (route.path, status, body)
        assert "allowed_origins" not in body
        assert token not in body
        status, body = await answered(path, ["sluice.v1", "bearer.slu_no"], server.url)
        assert (status, "unauthorized" in body) == (401, True), route.path
        status, body = await answered(path, offered, "https://evil.example.com")
        assert (status, "allowed_origins" in body) == (403, True), route.path


async def test_a_pools_token_opens_registration_alone(
    routes: list[BaseRoute], settings: ServerSettings
) -> None:
    open_to_pool = {
        (method, path)
        for method, path, route in calls(routes)
        if permission_of(route) is Permission.REGISTER_AGENT
    }
    assert open_to_pool == {("POST", "/api/v1/agents/register")}
