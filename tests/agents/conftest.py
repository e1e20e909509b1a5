"""Worlds and stores for agents, on memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sluice.server.settings import ServerSettings
from tests.agents.house import House, open_house
from tests.conftest import Backing
from tests.tasks.world import World, make_world


@pytest.fixture
async def world(transactions: Backing, tmp_path: Path) -> World:
    """All that the verbs of agents need, with the pool `idc1` of `org-1`."""
    return await make_world(transactions, tmp_path)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A server with an administrator, an organization, a pool and an agent."""
    settings = ServerSettings(data_dir=tmp_path, port=0, shutdown_seconds=2)
    async with open_house(settings) as opened:
        yield opened
