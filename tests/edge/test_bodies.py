import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from sluice.edge.bodies import BodyCap, body_to_file, read_body
from sluice.edge.problems import install_problem_handlers

CAP = 1000
LIMIT = 3_000_000


class Text(BaseModel):
    text: str


@pytest.fixture
def kept() -> list[Path]:
    return []


@pytest.fixture
async def client(tmp_path: Path, kept: list[Path]) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(openapi_url=None)
    install_problem_handlers(app)
    app.add_middleware(BodyCap, cap=CAP)

    @app.post("/json")
    async def take_json(body: Text) -> int:
        return len(body.text)

    @app.post("/bytes")
    async def take_bytes(request: Request) -> int:
        return len(await read_body(request, limit=LIMIT))

    @app.post("/file")
    async def take_file(request: Request) -> dict[str, object]:
        async with body_to_file(request, limit=LIMIT, directory=tmp_path) as body:
            kept.append(body.path)
            content = body.path.read_bytes()
            same = hashlib.sha256(content).hexdigest() == body.sha256
            assert hashlib.md5(content).digest() == body.md5
            return {"size": body.size, "same": same}

    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A body of unknown length (no content-length)."""
    sent = 0
    while sent < size:
        piece = b"x" * min(65536, size - sent)
        sent += len(piece)
        yield piece


async def test_json_is_taken_up_to_the_cap(client: httpx2.AsyncClient) -> None:
    small = await client.post("/json", json={"text": "x" * 900})
    assert (small.status_code, small.json()) == (200, 900)
    large = await client.post("/json", json={"text": "x" * 1000})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert "1000 bytes" in large.json()["detail"]


@pytest.mark.parametrize("path", ["/bytes", "/file"])
async def test_a_route_of_its_own_may_take_more(
    client: httpx2.AsyncClient, path: str
) -> None:
    announced = await client.post(path, content=b"x" * LIMIT)
    assert announced.status_code == 200
    chunked = await client.post(path, content=pieces(LIMIT))
    assert chunked.status_code == 200


@pytest.mark.parametrize("path", ["/bytes", "/file"])
async def test_and_no_more_than_its_limit(
    client: httpx2.AsyncClient, path: str
) -> None:
    for content in (b"x" * (LIMIT + 1), pieces(LIMIT + 1)):
        answer = await client.post(path, content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert str(LIMIT) in answer.json()["detail"]


async def test_a_stored_body_is_whole_and_goes_with_the_request(
    client: httpx2.AsyncClient, kept: list[Path]
) -> None:
    answer = await client.post("/file", content=pieces(2_500_001))
    assert answer.json() == {"size": 2_500_001, "same": True}
    assert kept
    assert not any(path.exists() for path in kept)


async def test_a_refused_body_leaves_no_file(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    await client.post("/file", content=pieces(LIMIT + 1))
    assert list(tmp_path.iterdir()) == []


async def test_a_body_that_breaks_off_is_refused(client: httpx2.AsyncClient) -> None:
    headers = {"content-length": "100"}
    answer = await client.post("/file", content=pieces(50), headers=headers)
    assert answer.status_code == 422
    assert "50 of 100" in answer.json()["detail"]


async def test_what_is_announced_too_large_is_refused_before_it_is_read(
    client: httpx2.AsyncClient,
) -> None:
    read: list[int] = []

    async def counted() -> AsyncIterator[bytes]:
        async for piece in pieces(CAP):
            read.append(len(piece))
            yield piece

    headers = {"content-length": str(CAP + 1), "content-type": "application/json"}
    answer = await client.post("/json", content=counted(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (answer.json()["title"], read) == ("Too large", [])
