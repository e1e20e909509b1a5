"""WebSockets of pages and programs, over real sockets, at a route that knows nothing of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sluice.edge.upgrade import CheckUpgrades, origin_of
from sluice.edge.websocket import FrameProtocol

PANEL = "https://panel.example.com"


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Panel.Example.com", PANEL),
        ("https://panel.example.com:443/", PANEL),
        ("https://panel.example.com:8443", f"{PANEL}:8443"),
        ("http://127.0.0.1:8460", "http://127.0.0.1:8460"),
        ("http://[::1]:8460", "http://[::1]:8460"),
        ("http://localhost:80", "http://localhost"),
        ("null", None),
        ("", None),
        ("panel.example.com", None),
        ("https://", None),
        ("https://x:port", None),
        ("http://[::1", None),
    ],
)
def test_origins_are_compared_as_browsers_write_them(
    address: str, origin: str | None
) -> None:
    assert origin_of(address) == origin


async def show(websocket: WebSocket) -> None:
    """Accept, tell what the route sees, and end."""
    await websocket.accept()
    await websocket.send_json(
        {
            "authorization": websocket.headers.get("authorization"),
            "protocols": websocket.scope["subprotocols"],
            "headers": str(websocket.headers.raw),
        }
    )
    await websocket.close()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = Starlette(
        routes=[WebSocketRoute("/ws", show)],
        middleware=[Middleware(CheckUpgrades, allowed_origins={PANEL})],
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, ws=FrameProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def seen(port: int, *offered: str, **headers: str) -> tuple[str | None, Any]:
    """The protocol of the answer, and what the route saw."""
    more: dict[str, Any] = {"subprotocols": list(offered)} if offered else {}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with connect(
        f"ws://127.0.0.1:{port}/ws", additional_headers=given, proxy=None, **more
    ) as websocket:
        return websocket.subprotocol, json.loads(await websocket.recv())


async def refused(port: int, *offered: str, **headers: str) -> dict[str, Any]:
    """The problem with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await seen(port, *offered, **headers)
    response = error.value.response
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(response.body or b"")
    assert found["status"] == response.status_code
    return found


async def test_a_program_is_let_through_as_it_is(port: int) -> None:
    protocol, saw = await seen(port, Authorization="Bearer slu_x")
    assert (protocol, saw["authorization"]) == (None, "Bearer slu_x")


async def test_a_pages_token_becomes_the_header_and_is_not_echoed(port: int) -> None:
    for offered in (("sluice.v1", "bearer.slu_x.y"), ("bearer.slu_x.y", "sluice.v1")):
        protocol, saw = await seen(port, *offered)
        assert protocol == "sluice.v1"
        assert saw["authorization"] == "Bearer slu_x.y"
        assert saw["protocols"] == ["sluice.v1"]
        assert "bearer." not in saw["headers"]


async def test_a_header_goes_before_a_protocol(port: int) -> None:
    _, saw = await seen(
        port, "sluice.v1", "bearer.other", Authorization="Bearer slu_mine"
    )
    assert saw["authorization"] == "Bearer slu_mine"
    assert "other" not in saw["headers"]


async def test_only_our_protocol_is_ever_chosen(port: int) -> None:
    assert (await seen(port, "sluice.v1"))[0] == "sluice.v1"
    assert (await seen(port, "graphql-ws"))[0] is None
    assert (await seen(port, "graphql-ws", "sluice.v1"))[0] == "sluice.v1"


async def test_a_token_without_the_protocol_is_refused_in_words(port: int) -> None:
    problem = await refused(port, "bearer.slu_x")
    assert problem["status"] == 422
    assert "offer `sluice.v1` beside it" in problem["detail"]
    assert "slu_x" not in problem["detail"]


async def test_pages_of_this_host_and_of_listed_ones_are_welcome(port: int) -> None:
    for origin in (
        f"http://127.0.0.1:{port}",
        f"https://127.0.0.1:{port}",
        PANEL,
        "https://PANEL.example.com:443",
    ):
        await seen(port, Origin=origin)


@pytest.mark.parametrize("host", ["sluice.example.com", "Sluice.Example.com:443"])
async def test_behind_a_proxy_the_host_that_it_passes_on_counts(
    port: int, host: str
) -> None:
    async with connect(
        f"ws://{host}/ws",
        host="127.0.0.1",
        port=port,
        proxy=None,
        additional_headers={"Origin": "https://sluice.example.com"},
    ) as websocket:
        await websocket.recv()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://panel.example.com",
        "https://panel.example.com.evil.com",
        "https://panel.example.com:444",
        "http://127.0.0.1",
        "null",
        "",
    ],
)
async def test_pages_of_other_hosts_are_refused(port: int, origin: str) -> None:
    problem = await refused(port, "sluice.v1", "bearer.slu_x", Origin=origin)
    assert problem["code"] == "forbidden"
    assert "SLUICE_ALLOWED_ORIGINS" in problem["detail"]
