"""Worlds and stores for agents, on memory, SQLite and PostgreSQL."""

from pathlib import Path

import pytest

from tests.conftest import Backing
from tests.tasks.world import World, make_world


@pytest.fixture
async def world(transactions: Backing, tmp_path: Path) -> World:
    """All that the verbs of agents need, with the pool `idc1` of `org-1`."""
    return await make_world(transactions, tmp_path)
