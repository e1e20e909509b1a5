import base64
from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket

from sluice.auth.guard import (
    deny_by_default,
    guarded,
    include,
    permission_of,
    principal_of,
    require,
    require_user,
)
from sluice.auth.model import AgentPrincipal, Principal, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.trail import NoTrail
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import AgentId, OrganizationId, PoolId, UserId
from sluice.edge.problems import install_problem_handlers
from sluice.testing.open_access import OpenAccess

USER = UserPrincipal(UserId("user-1"), "ada", admin=False)
AGENT = AgentPrincipal(AgentId("agent-1"), PoolId("p"), OrganizationId("o"))


class Known:
    async def authenticate(self, bearer: str) -> Principal:
        match bearer:
            case "user":
                return USER
            case "agent":
                return AGENT
            case _:
                raise UnauthorizedError("unknown token")


def build_router() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/typed")
    async def typed(
        principal: Annotated[Principal, Depends(require(Permission.READ))],
    ) -> str:
        return principal.actor

    @router.get("/user-only")
    async def user_only(
        principal: Annotated[
            UserPrincipal, Depends(require_user(Permission.TASK_DATA))
        ],
    ) -> str:
        return principal.name

    @router.get("/nested", dependencies=[Depends(_nested)])
    async def nested() -> str:
        return "in"

    @router.get("/open")
    @guarded(Permission.PUBLIC)
    async def open_route(number: int = 0) -> int:
        return number

    @guarded(Permission.WORK)
    async def raw(request: Request) -> Response:
        return PlainTextResponse(principal_of(request).actor)

    @guarded(Permission.READ)
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    @router.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    router.add_route("/v1/raw", raw)
    router.add_websocket_route("/v1/socket", socket)
    return router


async def _nested(
    principal: Annotated[Principal, Depends(require(Permission.ADMIN))],
) -> None:
    return None


async def forgotten_raw(request: Request) -> Response:
    return PlainTextResponse("secret")


def build_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.access = OpenAccess()
    app.state.trail = NoTrail()
    app.state.authenticator = Known()
    install_problem_handlers(app)
    include(app, build_router())
    app.router.routes.append(Route("/forgotten-raw", forgotten_raw))
    app.router.routes.append(
        Mount("/mounted", Starlette(routes=[Route("/x", forgotten_raw)]))
    )
    app.include_router(build_router(), prefix="/nested")
    app.state.closed = deny_by_default(app.router.routes)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(build_app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_without_a_token_a_declared_route_says_401(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/v1/typed")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "unauthorized"


async def test_a_caller_with_the_permission_gets_in(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/typed", headers=bearer("user"))
    assert (answer.status_code, answer.json()) == (200, "ada")


@pytest.mark.parametrize(
    ("path", "token"),
    [("/v1/typed", "agent"), ("/v1/nested", "user"), ("/v1/raw", "user")],
)
async def test_a_caller_without_it_gets_403(
    client: httpx2.AsyncClient, path: str, token: str
) -> None:
    answer = await client.get(path, headers=bearer(token))
    assert answer.status_code == 403
    assert "lacks the permission" in answer.json()["detail"]


async def test_an_agent_is_no_user(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/user-only", headers=bearer("agent"))
    assert answer.status_code == 403
    assert "no user" in answer.json()["detail"]


async def test_a_raw_endpoint_knows_its_caller(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/raw", headers=bearer("agent"))
    assert answer.text == "agent agent-1"


async def test_the_password_of_basic_auth_is_a_token(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/v1/typed", auth=("anybody", "user"))
    assert answer.status_code == 200


async def test_unreadable_basic_credentials_are_refused(
    client: httpx2.AsyncClient,
) -> None:
    for value in ("Basic !!", "Basic " + base64.b64encode(b"\xff\xfe").decode()):
        answer = await client.get("/v1/typed", headers={"authorization": value})
        assert answer.status_code == 401


async def test_a_public_route_is_open_and_keeps_its_parameters(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/v1/open?number=7")
    assert (answer.status_code, answer.json()) == (200, 7)


@pytest.mark.parametrize(
    "path",
    ["/v1/forgotten", "/forgotten-raw", "/mounted/x", "/nested/v1/forgotten"],
)
async def test_what_declares_nothing_is_closed_to_everybody(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers=bearer("user"))
    assert answer.status_code == 403
    assert "secret" not in answer.text


def test_closing_names_what_was_forgotten_and_only_that() -> None:
    closed = build_app().state.closed
    assert "/v1/forgotten" in closed
    assert "/forgotten-raw" in closed
    assert "/mounted" in closed
    assert "/v1/typed" not in closed
    assert "/v1/socket" not in closed


def test_permissions_are_found_however_they_are_declared() -> None:
    found = {
        getattr(route, "path", ""): permission_of(route)
        for route in build_router().routes
    }
    assert found == {
        "/v1/typed": Permission.READ,
        "/v1/user-only": Permission.TASK_DATA,
        "/v1/nested": Permission.ADMIN,
        "/v1/open": Permission.PUBLIC,
        "/v1/forgotten": None,
        "/v1/raw": Permission.WORK,
        "/v1/socket": Permission.READ,
    }


def test_public_is_no_dependency() -> None:
    with pytest.raises(ValueError, match="guarded"):
        require(Permission.PUBLIC)


async def test_an_unknown_path_is_a_404_problem(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/nothing")
    assert answer.status_code == 404
    assert "/v1/nothing" in answer.json()["detail"]
