import json
import logging
from collections.abc import AsyncIterator, Iterator
from io import StringIO

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from sluice.base.errors import UnavailableError
from sluice.edge.health import healthz, readiness
from sluice.edge.logging import LogFormat, configure_logging
from sluice.edge.metrics import metrics_endpoint, new_registry
from sluice.edge.requests import RefuseNul, RequestMetrics, RequestScope
from sluice.edge.stopping import Stopping

_logger = structlog.get_logger(__name__)


class Part:
    """A part that can be down."""

    def __init__(self) -> None:
        self.up = True

    async def check(self) -> None:
        if not self.up:
            raise UnavailableError("away")


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def stopping() -> Stopping:
    return Stopping(lambda: None)


@pytest.fixture
async def client(part: Part, stopping: Stopping) -> AsyncIterator[httpx2.AsyncClient]:
    registry = new_registry()
    away = Part()
    away.up = False
    app = FastAPI(openapi_url=None)
    app.add_middleware(RefuseNul)
    app.add_middleware(RequestScope, metrics=RequestMetrics(registry))
    app.add_route("/healthz", healthz)
    ready = readiness({"database": part.check}, stopping, helpful={"redis": away.check})
    app.add_route("/readyz", ready)
    app.add_route("/metrics", metrics_endpoint(registry))

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        structlog.contextvars.bind_contextvars(task_id=name)
        _logger.info("looked at a thing")
        return name

    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


@pytest.fixture
def log() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = StringIO()
    configure_logging(LogFormat.JSON, "debug", out=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_a_sane_request_id_is_kept_and_others_are_replaced(
    client: httpx2.AsyncClient,
) -> None:
    kept = await client.get("/healthz", headers={"x-request-id": "abc-1.2_3"})
    assert kept.headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 101, 'a"}', ""):
        answer = await client.get("/healthz", headers={"x-request-id": bad})
        assert answer.headers["x-request-id"] != bad
        assert len(answer.headers["x-request-id"]) == 16


async def test_requests_are_counted_by_route_and_not_by_id(
    client: httpx2.AsyncClient,
) -> None:
    for name in ("a", "b", "c"):
        await client.get(f"/things/{name}")
    await client.get("/nowhere/at/all")
    text = (await client.get("/metrics")).text
    assert (
        'sluice_http_requests_total{method="GET",route="/things/{name}",status="200"} 3.0'
        in text
    )
    assert 'route="(none)",status="404"} 1.0' in text
    assert "nowhere" not in text
    assert "sluice_http_request_seconds_bucket" in text


async def test_log_lines_of_a_request_bear_its_id_and_its_task(
    client: httpx2.AsyncClient, log: StringIO
) -> None:
    await client.get("/things/task-7", headers={"x-request-id": "r7"})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    mine = [line for line in lines if line.get("message") == "looked at a thing"]
    assert [(line["request_id"], line["task_id"]) for line in mine] == [
        ("r7", "task-7")
    ]
    assert mine[0]["level"] == "info"
    assert mine[0]["timestamp"].endswith("Z")


async def test_the_next_request_does_not_inherit_them(
    client: httpx2.AsyncClient, log: StringIO
) -> None:
    await client.get("/things/task-7")
    await client.get("/healthz")
    _logger.info("afterwards")
    last = json.loads(log.getvalue().splitlines()[-1])
    assert "task_id" not in last


async def test_a_living_process_is_healthy_whatever_is_down(
    client: httpx2.AsyncClient, part: Part
) -> None:
    part.up = False
    assert (await client.get("/healthz")).status_code == 200


async def test_readiness_names_the_part_that_is_down(
    client: httpx2.AsyncClient, part: Part
) -> None:
    assert (await client.get("/readyz")).json() == {
        "status": "ready",
        "parts": {"database": "up", "redis": "down"},
    }
    part.up = False
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"database": "down", "redis": "down"}


async def test_a_server_that_stops_is_not_ready(
    client: httpx2.AsyncClient, stopping: Stopping
) -> None:
    stopping.begin()
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["server"] == "stopping"


@pytest.mark.parametrize("address", ["/things/a%00b", "/things/a?name=%00"])
async def test_a_nul_in_the_address_is_refused(
    client: httpx2.AsyncClient, address: str
) -> None:
    answer = await client.get(address)
    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]
