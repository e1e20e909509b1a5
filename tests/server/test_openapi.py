"""The OpenAPI document has every route, says who may call it, and holds together."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute

from sluice.auth.guard import permission_of
from sluice.auth.openapi import OTHERS, operation_of
from sluice.auth.permissions import Permission
from sluice.edge.stopping import Stopping
from sluice.server.app import build_app
from sluice.server.concepts import build_concepts
from sluice.server.parts import open_parts
from sluice.server.settings import ServerSettings

Json = dict[str, Any]


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> Json:
    found: Json = (await client.get("/api/v1/openapi.json")).json()
    return found


@pytest.fixture
async def routes(settings: ServerSettings) -> list[BaseRoute]:
    parts = open_parts(settings)
    app = build_app(parts, build_concepts(parts), Stopping(lambda: None))
    await parts.close()
    return list(app.router.routes)


def calls(routes: list[BaseRoute]) -> Iterator[tuple[str, str, BaseRoute]]:
    """Path and method of every route."""
    for route in routes:
        if isinstance(route, WebSocketRoute):
            yield route.path_format, "WEBSOCKET", route
        elif isinstance(route, Route):
            for method in sorted(route.methods or ()):
                if method != "HEAD":
                    yield route.path_format, method, route


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in {**item, **item.get(OTHERS, {})}.items():
            if method != OTHERS:
                yield path, method, operation


async def test_every_route_is_there_with_words_of_its_own(
    routes: list[BaseRoute], document: Json
) -> None:
    for path, method, _ in calls(routes):
        operation = operation_of(document, path, method)
        assert operation is not None, (method, path)
        assert operation["summary"], (method, path)
        said = re.sub(r"Needs the permission.*", "", operation["description"])
        assert said.strip(), f"{method} {path} needs a docstring"
        given = {one["name"] for one in operation.get("parameters", ())}
        assert set(re.findall(r"\{(\w+)\}", path)) <= given, (method, path)
    assert len(list(operations(document))) == len(list(calls(routes)))


async def test_who_needs_a_token_is_said_of_each(
    routes: list[BaseRoute], document: Json
) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, method, route in calls(routes):
        operation = operation_of(document, path, method)
        assert operation is not None
        if permission_of(route) is Permission.PUBLIC:
            assert "security" not in operation, path
        else:
            assert operation["security"] == [{"bearer": []}], path
            assert f"`{permission_of(route)}`" in operation["description"]


async def test_every_failure_is_a_problem(document: Json) -> None:
    for path, method, operation in operations(document):
        answers = operation["responses"]
        assert "default" not in answers, (method, path)
        failed = {status: said for status, said in answers.items() if status >= "400"}
        assert {"422", "429", "503"} <= set(failed), (method, path)
        if "security" in operation:
            assert {"401", "403", "404"} <= set(failed), (method, path)
        for status, said in failed.items():
            if "$ref" in said:
                assert said["$ref"] == f"#/components/responses/Problem{status}"
            else:
                assert "application/problem+json" in said["content"], (method, path)
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    assert "detail" in schemas["Problem"]["required"]


async def test_references_lead_somewhere_and_names_are_given_once(
    document: Json,
) -> None:
    schemas = document["components"]["schemas"]
    named = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document)))
    assert named - set(schemas) == set()
    given = document["components"]["responses"]
    named = set(re.findall(r"'\$ref': '#/components/responses/([^']+)'", str(document)))
    assert named - set(given) == set()
    elsewhere = r"'\$ref': '(?!#/components/(?:schemas|responses)/)"
    assert re.findall(elsewhere, str(document)) == []
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


async def test_the_methods_are_those_that_openapi_knows(document: Json) -> None:
    known = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    for path, item in document["paths"].items():
        assert {key for key in item if not key.startswith("x-")} <= known, path
    backend = "/api/v1/workspaces/{workspace_id}/state-backend"
    assert set(document["paths"][backend][OTHERS]) == {"LOCK", "UNLOCK"}


async def test_raw_routes_say_what_they_take_and_give(document: Json) -> None:
    task = "/api/v1/tasks/{task_id}"
    stream = document["paths"][f"{task}/output/stream"]["get"]
    assert "101" in stream["responses"]
    parameters = {one["name"]: one for one in stream["parameters"]}
    assert parameters["after"]["schema"] == {"type": "integer"}
    assert parameters["format"]["schema"]["enum"] == ["live", "batch"]
    events = document["paths"][f"{task}/output/sse"]["get"]
    assert list(events["responses"]["200"]["content"]) == ["text/event-stream"]
    upload = document["paths"][f"{task}/log"]["patch"]
    assert list(upload["requestBody"]["content"]) == ["application/octet-stream"]
    ack = upload["responses"]["409"]["content"]["application/json"]["schema"]
    assert ack == {"$ref": "#/components/schemas/Ack"}
    assert "committed" in document["components"]["schemas"]["Ack"]["properties"]
    stats = document["paths"]["/api/v1/terraform/streams/stats"]["get"]
    shown = stats["responses"]["200"]["content"]["application/json"]["schema"]
    assert shown == {"$ref": "#/components/schemas/StreamStats"}
    assert "/ws/agent/logs" in document["paths"]
