"""A house of its own for each test that asks services over real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.house import House, open_house
from tests.runtasks.services import open_settings


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A server that may call services on this machine."""
    async with open_house(open_settings(tmp_path / "server")) as opened:
        yield opened
