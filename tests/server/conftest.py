import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import structlog

from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings, load_settings

Start = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture(autouse=True)
def no_outer_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No SLUICE_* variables and no file of the person who runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of requests are not logged."""
    before = structlog.get_config()
    level = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=level)
    yield
    structlog.configure(**before)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return load_settings(
        {"data_dir": tmp_path / "server", "port": 0, "shutdown_seconds": 2}
    )


@pytest.fixture
async def server(settings: ServerSettings) -> AsyncIterator[Serving]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def client(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=server.url, trust_env=False, timeout=40
    ) as client:
        yield client


@asynccontextmanager
async def signed_in(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the first admin of a fresh server."""
    async with httpx2.AsyncClient(
        base_url=server.url, trust_env=False, timeout=40
    ) as client:
        answer = await client.post(
            "/api/v1/auth/setup", json={"token": server.setup_token, "name": "ada"}
        )
        answer.raise_for_status()
        client.headers["authorization"] = f"Bearer {answer.json()['token']}"
        yield client
