"""Every answer tells browsers to make nothing more of it than data."""

import httpx2
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sluice.edge.problems import install_problem_handlers
from sluice.edge.security_headers import HEADERS, HSTS, SecurityHeaders


async def plain(request: Request) -> Response:
    return PlainTextResponse("<script>")


async def kept(request: Request) -> Response:
    return PlainTextResponse("x", headers={"cache-control": "public, max-age=300"})


async def script(request: Request) -> Response:
    return Response("1", media_type="text/javascript; charset=utf-8")


async def broken(request: Request) -> Response:
    raise RuntimeError("<script>secret</script>")


def app(*, https: bool = False) -> ASGIApp:
    made = FastAPI(openapi_url=None)
    install_problem_handlers(made)
    for endpoint in (plain, kept, script, broken):
        made.router.routes.append(Route(f"/{endpoint.__name__}", endpoint))
    made.add_middleware(SecurityHeaders, https=https)
    return made


async def answer(path: str, *, https: bool = False) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=app(https=https), raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://sluice.test"
    ) as client:
        return await client.get(path)


async def test_every_answer_has_them() -> None:
    for path in ("/plain", "/nothing", "/broken"):
        said = await answer(path)
        assert {name: said.headers[name] for name in HEADERS} == dict(HEADERS), path
        assert "strict-transport-security" not in said.headers


async def test_a_fault_shows_nothing_of_itself() -> None:
    said = await answer("/broken")
    assert said.status_code == 500
    assert said.headers["content-type"] == "application/problem+json"
    assert "secret" not in said.text


async def test_what_a_route_says_itself_stays() -> None:
    said = await answer("/kept")
    assert said.headers.get_list("cache-control") == ["public, max-age=300"]


async def test_a_script_for_other_pages_is_not_kept_from_them() -> None:
    said = await answer("/script")
    assert "content-security-policy" not in said.headers
    assert "x-frame-options" not in said.headers
    assert said.headers["x-content-type-options"] == "nosniff"


async def test_browsers_are_told_to_insist_on_https_where_it_is_used() -> None:
    said = await answer("/plain", https=True)
    assert said.headers["strict-transport-security"] == HSTS
