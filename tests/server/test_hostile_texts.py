"""Texts that are code elsewhere stay texts here: in names, reasons, errors, and headers."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from sluice.edge.security_headers import HEADERS, HSTS
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings, load_settings
from tests.agents.house import House, open_house
from tests.support.hostile import ALL, HIDDEN, PAGE

DATA = ("application/json", "application/problem+json")
pytestmark = pytest.mark.usefixtures("quiet")
SAMPLE = ALL[::10]


@pytest.fixture
async def house(settings: ServerSettings) -> AsyncIterator[House]:
    async with open_house(settings) as opened:
        yield opened


def is_data(answer: httpx2.Response) -> None:
    """No browser runs, frames, guesses or stores any of it."""
    kind = answer.headers["content-type"]
    assert kind.partition(";")[0] in DATA, (answer.url, kind)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], (answer.url, name)
    assert not answer.headers.get_list("set-cookie")
    assert answer.status_code < 500, answer.text


async def call(house: House, method: str, path: str, **more: Any) -> httpx2.Response:
    headers = {
        "Authorization": f"Bearer {house.admin.token}",
        **more.pop("headers", {}),
    }
    answer = await house.http.request(method, path, headers=headers, **more)
    is_data(answer)
    return answer


async def test_a_text_comes_back_as_it_was_given(house: House) -> None:
    workspace_id = await house.workspace("web")
    variables = f"/api/v1/workspaces/{workspace_id}/variables"
    for number, text in enumerate(ALL):
        given = {"key": f"v{number}", "value": text, "description": text[:500]}
        made = await call(house, "POST", variables, json=given)
        assert made.status_code == 201, (text, made.text)
        assert made.json()["value"] == text
        assert made.json()["description"] == text[:500]
    listed = (await call(house, "GET", variables)).json()
    found = {one["key"]: one["value"] for one in listed}
    assert found == {f"v{number}": text for number, text in enumerate(ALL)}


NAMED: list[tuple[str, str, dict[str, Any]]] = [
    ("/api/v1/organizations", "name", {}),
    ("/api/v1/users", "name", {}),
    ("/api/v1/organizations/acme/workspaces", "name", {}),
    ("/api/v1/organizations/acme/pools", "name", {}),
    ("/api/v1/organizations/acme/teams", "name", {}),
    ("/api/v1/organizations/acme/scripts", "key", {"body": "true"}),
    ("/api/v1/organizations/acme/scripts", "name", {"key": "k", "body": "true"}),
    (
        "/api/v1/run-tasks",
        "name",
        {"endpoint_url": "https://scan.example.com/hook", "organization_id": "acme"},
    ),
    ("/api/v1/auth/tokens", "name", {}),
]


@pytest.mark.parametrize(
    ("path", "field", "more"),
    NAMED,
    ids=[f"{path} {field}" for path, field, _ in NAMED],
)
async def test_a_name_is_refused_or_comes_back_as_a_text(
    house: House, path: str, field: str, more: dict[str, Any]
) -> None:
    for text in SAMPLE:
        made = await call(house, "POST", path, json={**more, field: text})
        if made.status_code in {200, 201}:
            assert made.json()[field] == text
            assert text.isprintable(), f"a name that hides itself is taken: {text!r}"
            if "id" in made.json() and field != "name":
                await call(house, "DELETE", f"/api/v1/scripts/{made.json()['id']}")
        else:
            assert made.status_code in {403, 404, 405, 409, 422}, made.text
            assert made.headers["content-type"] == "application/problem+json"


async def test_a_reason_comes_back_as_a_text(house: House) -> None:
    workspace_id = await house.workspace("web")
    here = f"/api/v1/workspaces/{workspace_id}"
    for text in SAMPLE[::2]:
        locked = await call(house, "POST", f"{here}/lock", json={"reason": text})
        assert locked.status_code == 200, locked.text
        refused = await call(house, "POST", f"{here}/lock", json={"reason": text})
        assert refused.status_code == 423
        assert (await call(house, "POST", f"{here}/unlock")).status_code == 200
        made = await call(
            house, "POST", f"{here}/tasks", json={"task_type": "plan", "message": text}
        )
        assert made.status_code == 201, made.text
        task = f"/api/v1/tasks/{made.json()['id']}"
        assert made.json()["message"] == text
        await call(house, "POST", f"{task}/cancel", json={"reason": text})


async def test_an_error_that_repeats_what_was_given_is_data(house: House) -> None:
    paths = (
        "/api/v1/organizations/{}",
        "/api/v1/tasks/{}",
        "/{}",
        "/api/v1/run-tasks?organization_id={}",
    )
    for number, text in enumerate(ALL):
        path = paths[number % len(paths)].format(quote(text, safe=""))
        answer = await call(house, "GET", path)
        assert answer.status_code >= 400, path
        assert answer.json()["type"].startswith("urn:sluice:problem:")


async def test_a_header_that_repeats_what_was_given_adds_none(house: House) -> None:
    for text in [text for text in PAGE if text.isascii()][::3]:
        sent = "".join(sign for sign in text if sign.isprintable()).strip()
        answer = await call(
            house,
            "GET",
            "/api/v1/organizations/nothing",
            headers={"X-Request-ID": sent, "Origin": f"https://{sent}"},
        )
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", answer.headers["x-request-id"])
        assert "access-control-allow-origin" not in answer.headers
        told = dict(answer.headers)
        del told["x-request-id"]  # a sane one of the caller's is taken
        assert not any("hacked" in value for value in told.values())


async def test_what_hides_in_a_text_is_seen_in_json(house: House) -> None:
    """JSON of the API is UTF-8: what hides is kept, and for its readers to show or not."""
    workspace_id = await house.workspace("web")
    for number, text in enumerate(HIDDEN):
        made = await call(
            house,
            "POST",
            f"/api/v1/workspaces/{workspace_id}/variables",
            json={"key": f"h{number}", "value": text},
        )
        assert made.json()["value"] == text


async def test_every_route_has_the_headers_signed_in_or_not(house: House) -> None:
    document = (await house.http.get("/api/v1/openapi.json")).json()
    asked = 0
    for path, item in document["paths"].items():
        for method in item:
            if method.startswith("x-"):
                continue
            where = re.sub(r"\{[^}]+\}", "x-1", path)
            answer = await house.http.request(method.upper(), where)
            assert answer.headers["x-content-type-options"] == "nosniff", where
            assert answer.headers["referrer-policy"] == "no-referrer", where
            assert answer.headers["cache-control"], where
            if path != "/embed.js":
                policy = answer.headers["content-security-policy"]
                assert policy == HEADERS["content-security-policy"], where
            asked += 1
    assert asked > 100


async def test_browsers_insist_on_https_where_the_server_is_reached_by_it(
    settings: ServerSettings,
) -> None:
    given = settings.model_copy(update={"public_url": "https://sluice.example.com"})
    async with serving(given) as server:
        assert (await _health(server)).headers["strict-transport-security"] == HSTS
    async with serving(load_settings(dict(_plain(settings)))) as server:
        assert "strict-transport-security" not in (await _health(server)).headers


def _plain(settings: ServerSettings) -> list[tuple[str, Any]]:
    return [("data_dir", settings.data_dir / "b"), ("port", 0), ("shutdown_seconds", 2)]


async def _health(server: Serving) -> httpx2.Response:
    address = f"http://127.0.0.1:{server.port}/healthz"
    async with httpx2.AsyncClient(trust_env=False, timeout=40) as client:
        return await client.get(address)
