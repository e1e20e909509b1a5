from datetime import UTC, datetime, timedelta

import pytest

from sluice.auth.ports import AuthStore
from sluice.auth.store import SqlAuthStore
from sluice.testing.memory_auth import MemoryAuthStore
from tests.conftest import Backing


class TurnedClock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def turn(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def store(transactions: Backing) -> AuthStore:
    if transactions.kind == "memory":
        return MemoryAuthStore(transactions.memory)
    return SqlAuthStore()
