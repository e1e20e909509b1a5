import pytest

from tests.conftest import Backing
from tests.notifications.rig import Rig, make_rig


@pytest.fixture
async def rig(transactions: Backing) -> Rig:
    return await make_rig(transactions)
