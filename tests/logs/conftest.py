"""Logs on each kind of store."""

from collections.abc import AsyncIterator

import pytest

from sluice.logs.assembly import LogBacking, LogSystem
from sluice.testing.memory_logs import MemoryBlobs
from tests.conftest import Backing
from tests.logs.harness import backing_of, running


@pytest.fixture
def blobs() -> MemoryBlobs:
    """Where archives go."""
    return MemoryBlobs()


@pytest.fixture
def backing(transactions: Backing, blobs: MemoryBlobs) -> LogBacking:
    """A store of each kind."""
    return backing_of(transactions.transactions, blobs)


@pytest.fixture
async def system(backing: LogBacking) -> AsyncIterator[LogSystem]:
    """Running logs on a store of each kind."""
    async with running(backing) as started:
        yield started
