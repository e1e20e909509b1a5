from pathlib import Path

import pytest

from tests.conftest import Backing
from tests.workspaces.rig import Rig, Stores, build_rig, fill, stores_on


@pytest.fixture
async def stores(transactions: Backing) -> Stores:
    """Stores of one kind, with the workspace of the rig."""
    found = stores_on(transactions)
    await fill(transactions.transactions, found)
    return found


@pytest.fixture
async def rig(transactions: Backing, tmp_path: Path) -> Rig:
    """All deps and routes, on each kind of store."""
    return await build_rig(transactions, tmp_path)
