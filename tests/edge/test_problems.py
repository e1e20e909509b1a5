from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from sluice.base.errors import (
    FencedError,
    RateLimitedError,
    SluiceError,
    UnauthorizedError,
)
from sluice.edge.problems import MEDIA_TYPE, install_problem_handlers


class Body(BaseModel):
    number: int
    labels: dict[str, str] = {}


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(openapi_url=None)
    install_problem_handlers(app)
    errors: dict[str, Exception] = {
        "fenced": FencedError("Another has taken over.", committed=7),
        "busy": RateLimitedError("Too many streams.", retry_after=12.4),
        "who": UnauthorizedError("No token."),
        "internal": SluiceError("A disk is gone."),
        "crash": ZeroDivisionError("secret detail"),
        "gone": ClientDisconnect(),
    }

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise errors[name]

    @app.post("/body")
    async def take(body: Body) -> int:
        return body.number

    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


async def test_a_named_error_is_a_problem_with_its_members(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/raise/fenced")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json() == {
        "type": "urn:sluice:problem:fenced",
        "title": "Lease superseded",
        "status": 409,
        "code": "fenced",
        "detail": "Another has taken over.",
        "committed": 7,
    }


async def test_401_says_how_to_sign_in_and_429_when_to_come_back(
    client: httpx2.AsyncClient,
) -> None:
    assert "www-authenticate" in (await client.get("/raise/who")).headers
    assert (await client.get("/raise/busy")).headers["retry-after"] == "12"


async def test_a_crash_tells_nothing_of_itself(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/raise/crash")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "secret" not in answer.text


async def test_an_invalid_body_names_every_field(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/body", json={"number": "x", "labels": {"a": 1}})
    assert answer.status_code == 422
    problem = answer.json()
    assert [fault["field"] for fault in problem["errors"]] == ["number", "labels.a"]
    assert problem["detail"].startswith("number: ")
    assert "and 1 more" in problem["detail"]


async def test_unreadable_json_is_invalid_input(client: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/body", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["errors"][0]["field"] == "body"
    assert answer.json()["detail"].startswith("body: This is no JSON")
    for unreadable in (b'{"number":"\xff"}', b"[" * 100_000):
        answer = await client.post("/body", content=unreadable, headers=headers)
        assert answer.status_code == 400
        assert "send JSON in UTF-8" in answer.json()["detail"]


async def test_a_caller_who_hangs_up_is_no_crash(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/raise/gone")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert not caplog.records


async def test_unknown_paths_and_methods_are_problems(
    client: httpx2.AsyncClient,
) -> None:
    missing = await client.get("/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = await client.delete("/body")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["content-type"] == MEDIA_TYPE
