"""The OpenAPI document of all routes: FastAPI's own, raw ones, who may call, and problems."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute, Route, WebSocketRoute

from sluice.auth.guard import permission_of
from sluice.auth.permissions import Permission
from sluice.edge.described import Content, Described, Parameter, described_of
from sluice.edge.problems import MEDIA_TYPE, PROBLEM_SCHEMA

OTHERS = "x-additional-operations"
"""Where methods stand that OpenAPI 3.1 has no place for (3.2 calls it the same without x-)."""

WEBSOCKET = "x-websocket"
"""Marks a GET that is upgraded: OpenAPI has no word for it."""

PERMISSION = "x-permission"
"""Marks what a caller needs; nothing where everybody may call."""

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"})
_REFERENCE = "#/components/schemas/"
_SCHEME = "bearer"
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
_SCHEMES = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "An API token, a JWT, a pool's, an agent's or a task's token. It may also come"
            " as the password of HTTP basic; on a WebSocket of a page, which cannot send"
            " headers, as a sub-protocol: `sluice.v1, bearer.TOKEN`."
        ),
    }
}
_PROBLEM_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}Problem"}}}
_PROBLEMS = {
    400: "The body cannot be read.",
    401: "No valid credentials came with the request.",
    403: "The caller may not do this.",
    404: "There is no such thing, or the caller may not know of it.",
    409: "It is in a state in which this cannot be done; the detail names the state.",
    413: "The body is larger than is taken.",
    422: "What is given cannot be taken; the detail names the field.",
    423: "The workspace is locked; the detail says by whom.",
    429: "Too many at once or too many a minute; `Retry-After` says when to come again.",
    503: "A part that the server needs is away; try again later.",
}
"""Why any route may fail; what else one answers, it says itself."""
_HEADERS: Mapping[int, Mapping[str, tuple[str, str]]] = {
    401: {"WWW-Authenticate": ("string", "Which credentials are taken.")},
    429: {"Retry-After": ("integer", "Seconds to wait.")},
}
_PROBLEM_REFERENCE = "#/components/responses/Problem"
_BYTES = {"type": "string"}
_PARTED = frozenset({"application/json", "text/event-stream"})
"""What is no plain text, and has a shape that its description tells."""
_JSON_TYPES = {str: "string", int: "integer", bool: "boolean"}

Json = dict[str, Any]


def openapi_document(app: FastAPI) -> Json:
    """The document of all routes that ``app`` has now."""
    routes = app.router.routes
    document: Json = get_openapi(title=app.title, version=app.version, routes=routes)
    paths: Json = document.setdefault("paths", {})
    for route, method in _calls(routes):
        operations = _operations(paths.setdefault(_path_of(route), {}), method)
        key = _key(method)
        if key not in operations:
            operations[key] = _raw_operation(route, method)
        _guard(operations[key], permission_of(route))
        _put_problems(_path_of(route), method, operations[key])
    _put_components(document, routes)
    return document


def operation_of(document: Json, path: str, method: str) -> Json | None:
    """The operation for a method (`WEBSOCKET` too) at a path; None where it is not there."""
    of_path: Json = document["paths"].get(path, {})
    found: Json | None = _operations(of_path, method).get(_key(method))
    return found


def _calls(routes: Sequence[BaseRoute]) -> Iterator[tuple[BaseRoute, str]]:
    """Every route with each of its methods; HEAD is GET's shadow."""
    for route in routes:
        if isinstance(route, WebSocketRoute):
            yield route, "WEBSOCKET"
        elif isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield route, method


def _path_of(route: BaseRoute) -> str:
    return str(getattr(route, "path_format", ""))


def _key(method: str) -> str:
    """A WebSocket is a GET that is upgraded."""
    if method == "WEBSOCKET":
        return "get"
    return method.lower() if method in _METHODS else method


def _operations(of_path: Json, method: str) -> Json:
    """The part of a path's item where ``method`` stands."""
    if method in _METHODS or method == "WEBSOCKET":
        return of_path
    others: Json = of_path.setdefault(OTHERS, {})
    return others


# --- one operation --------------------------------------------------------------


def _raw_operation(route: BaseRoute, method: str) -> Json:
    """What FastAPI does not say: from the route's description, docstring and path."""
    said = described_of(route) or Described(summary=_name_of(route).capitalize())
    operation: Json = {
        "tags": [said.tag],
        "summary": said.summary,
        "description": inspect.getdoc(getattr(route, "endpoint", None)) or "",
        "operationId": _operation_id(route, method),
        "responses": {
            str(status): _content(content) for status, content in said.answers.items()
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in getattr(route, "param_convertors", {})
    ]
    parameters += [_parameter(parameter) for parameter in said.parameters]
    if parameters:
        operation["parameters"] = parameters
    if method == "WEBSOCKET":
        operation[WEBSOCKET] = True
    if said.body is not None:
        operation["requestBody"] = {**_content(said.body), "required": True}
    return operation


def _name_of(route: BaseRoute) -> str:
    """``OutputSocket`` and ``_events`` as words."""
    name = str(getattr(route, "name", ""))
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).strip("_").replace("_", " ")


def _operation_id(route: BaseRoute, method: str) -> str:
    words = re.sub(r"\W+", "_", f"{_name_of(route)}{_path_of(route)}")
    return f"{words.strip('_')}_{method}".lower()


def _parameter(parameter: Parameter) -> Json:
    schema: Json
    match parameter.kind:
        case tuple() as choices:
            schema = {"type": "string", "enum": list(choices)}
        case kind:
            schema = {"type": _JSON_TYPES[kind]}
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.text,
        "schema": schema,
    }


def _content(content: Content) -> Json:
    shown: Json = {"description": content.text}
    if content.record is not None:
        schema = {"$ref": f"{_REFERENCE}{content.record.__name__}"}
        shown["content"] = {content.media or "application/json": {"schema": schema}}
    elif content.media:
        schema = {} if content.media in _PARTED else _BYTES
        shown["content"] = {content.media: {"schema": schema}}
    if content.or_media:
        shown["content"][content.or_media] = {"schema": _BYTES}
    return shown


def _guard(operation: Json, permission: Permission | None) -> None:
    """Say who may call it."""
    if permission is not Permission.PUBLIC:
        needs = f"Needs the permission `{permission or 'nobody'}`."
        said = operation.get("description", "")
        operation["description"] = f"{said}\n\n{needs}".strip()
        operation["security"] = [{_SCHEME: []}]
        operation[PERMISSION] = str(permission or "nobody")


def _put_problems(path: str, method: str, operation: Json) -> None:
    """Say how it fails: as every route does, and with a problem where it says no other body."""
    responses: Json = operation["responses"]
    if _OF_FASTAPI[0] in str(responses.get("422")):
        # FastAPI's own answer to what it cannot read; ours is a problem as any other
        del responses["422"]
    for status in _failures(path, method, operation):
        if str(status) not in responses:
            responses[str(status)] = {"$ref": f"{_PROBLEM_REFERENCE}{status}"}
    for given, response in responses.items():
        if given >= "400" and "$ref" not in response:
            response.setdefault("content", {}).update(_PROBLEM_CONTENT)
    operation["responses"] = dict(sorted(responses.items()))


def _failures(path: str, method: str, operation: Json) -> Iterator[int]:
    """The statuses of problems that may come at any time."""
    yield from (404, 422, 429, 503)
    if "security" in operation:
        yield from (401, 403, 409)
    if method not in {"GET", "WEBSOCKET"}:
        # what is public and does something asks for a token or password in its body
        yield from (401, 409)
        if "{workspace_id}" in path or "{task_id}" in path:
            yield 423
    if "requestBody" in operation:
        yield from (400, 413)


def _problem(status: int, text: str) -> Json:
    response: Json = {"description": text, "content": _PROBLEM_CONTENT}
    headers = _HEADERS.get(status)
    if headers:
        response["headers"] = {
            name: {"description": said, "schema": {"type": kind}}
            for name, (kind, said) in headers.items()
        }
    return response


# --- components -----------------------------------------------------------------


def _put_components(document: Json, routes: Sequence[BaseRoute]) -> None:
    components: Json = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    components["responses"] = {
        f"Problem{status}": _problem(status, text) for status, text in _PROBLEMS.items()
    }
    schemas: Json = components.setdefault("schemas", {})
    for name in _OF_FASTAPI:
        schemas.pop(name, None)
    for name, schema in _schemas(_records(routes)).items():
        schemas.setdefault(name, schema)
    schemas["Problem"] = PROBLEM_SCHEMA
    components["schemas"] = dict(sorted(schemas.items()))


def _records(routes: Sequence[BaseRoute]) -> list[type]:
    """Every record that a raw route takes or gives, once."""
    said = [found for route in routes if (found := described_of(route))]
    contents = [content for one in said for content in one.answers.values()]
    contents += [one.body for one in said if one.body is not None]
    return list(dict.fromkeys(one.record for one in contents if one.record is not None))


def _schemas(records: Sequence[type]) -> Mapping[str, Json]:
    models = [kind for kind in records if issubclass(kind, BaseModel)]
    structs = [kind for kind in records if not issubclass(kind, BaseModel)]
    _, found = models_json_schema(
        [(kind, "serialization") for kind in models],
        ref_template=f"{_REFERENCE}{{model}}",
    )
    _, of_structs = msgspec.json.schema_components(
        structs, ref_template=f"{_REFERENCE}{{name}}"
    )
    return {**found.get("$defs", {}), **of_structs}
