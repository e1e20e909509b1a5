"""Bodies that are too large, too deep, too slow or in strange wrappings, at every route."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from tests.server.conftest import signed_in
from tests.server.raw_socket import HOST, Wire, wire

CAP = 64 * 1024
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "LOCK", "UNLOCK")
DEEP = {
    "lists": b"[" * 100_000,
    "objects": b'{"a":' * 100_000,
    "closed lists": b"[" * 20_000 + b"]" * 20_000,
    "a deep member": b'{"name":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a long number": b'{"name": ' + b"9" * 50_000 + b"}",
    "half a text": b'{"name": "\\ud8',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "twice the name": b'{"name": "a", "name": {"name": []}}',
    "no JSON": b"name=a&name=b",
    "a bare word": b"NaN",
    "nothing": b"",
}


@pytest.fixture
async def small(settings: ServerSettings) -> AsyncIterator[Serving]:
    """A server whose JSON bodies may have 64 KiB."""
    given = settings.model_copy(
        update={
            "json_body_bytes": CAP,
            "requests_per_minute_per_address": 0,
            "failed_credentials_per_minute_per_address": 0,
        }
    )
    async with serving(given) as running:
        yield running


def unsafe_routes(server: Serving) -> list[tuple[str, str]]:
    app: Any = server.http.config.app
    return [
        (method, re.sub(r"\{[^}]*\}", "x", route.path))
        for route in app.router.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        if method in UNSAFE
    ]


def head(method: str, path: str, token: str, *fields: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def token_of(client: httpx2.AsyncClient) -> str:
    return client.headers["authorization"].removeprefix("Bearer ")


async def test_an_announced_body_over_the_cap_is_refused_before_it_comes(
    small: Serving,
) -> None:
    found = {}
    async with signed_in(small) as client:
        token = token_of(client)
        for method, path in unsafe_routes(small):
            async with wire(small.port) as line:
                # more than any route takes, and not a byte of it is sent
                announced = f"Content-Length: {2**40}"
                await line.send(head(method, path, token, announced))
                found[method, path] = await line.status()
    assert len(found) > 60
    assert {status for status in found.values() if status >= 500} == set()
    refused = [route for route, status in found.items() if status == 413]
    assert len(refused) > 30
    # others were refused for what is in their address, or take no body
    others = set(found.values()) - {413}
    assert others <= {200, 204, 401, 403, 404, 405, 409, 422}


async def test_one_byte_over_the_cap_without_a_length(small: Serving) -> None:
    piece = b"%x\r\n" % (CAP + 1) + b" " * (CAP + 1) + b"\r\n"
    found = {}
    async with signed_in(small) as client:
        token = token_of(client)
        for method, path in unsafe_routes(small):
            async with wire(small.port) as line:
                chunked = "Transfer-Encoding: chunked"
                await line.send(head(method, path, token, chunked) + piece)
                # the body has no end: whoever waits for it gets no answer
                found[method, path] = await _status_soon(line)
    assert {status for status in found.values() if status >= 500} == set()
    assert sum(status == 413 for status in found.values()) > 30


async def _status_soon(line: Wire) -> int:
    """The answer's status; 0 where the route waits for the rest, as those for files may."""
    try:
        async with asyncio.timeout(20):
            return await line.status()
    except TimeoutError:
        return 0


async def test_strange_json_is_a_fault_of_the_client(small: Serving) -> None:
    given = small.parts.settings.json_body_bytes
    async with signed_in(small) as client:
        for at, (method, path) in enumerate(unsafe_routes(small)):
            # each route gets some, so that all together get each many times
            for name in list(DEEP)[at % 4 :: 4]:
                body = DEEP[name]
                answer = await client.request(
                    method,
                    path,
                    content=body[: given - 1],
                    headers={"content-type": "application/json"},
                )
                assert answer.status_code < 500, (method, path, name, answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-encoding": "br"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "multipart/form-data"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/xml"},
        {"content-type": "application/json; charset=utf-7"},
        {"content-type": "\x7f/;;"},
    ],
)
async def test_bodies_in_strange_wrappings(
    small: Serving, headers: dict[str, str]
) -> None:
    body = b"\x1f\x8b\x08\x00" + b"--x\r\n" * 1000
    async with signed_in(small) as client:
        for path in ("/api/v1/organizations", "/api/v1/users", "/v1/soft/install"):
            answer = await client.post(path, content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (path, answer.text)


async def test_slow_bodies_hold_up_nobody(small: Serving) -> None:
    async with signed_in(small) as client, AsyncExitStack() as stack:
        token = token_of(client)
        for number in range(60):
            line = await stack.enter_async_context(wire(small.port))
            path = "/api/v1/organizations" if number % 2 else "/api/v1/auth/setup"
            await line.send(head("POST", path, token, "Content-Length: 500") + b'{"n')
        for number in range(5):
            made = await client.post(
                "/api/v1/organizations", json={"name": f"org-{number}"}
            )
            assert made.status_code == 201, made.text
