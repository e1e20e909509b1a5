"""Registered scripts with all that they stand on, on memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sluice.base.ids import OrganizationId, TaskId
from sluice.logs.assembly import LogBacking
from sluice.logs.ports import LogStore
from sluice.scripts.actions import ScriptDeps
from sluice.scripts.ports import ScriptStore
from sluice.scripts.retention import RetentionDeps, RetentionMetrics
from sluice.scripts.store import SqlScriptStore
from sluice.tasks.model import Task, TaskState
from sluice.testing.memory_logs import MemoryBlobs
from sluice.testing.memory_scripts import MemoryScriptStore
from tests.conftest import Backing
from tests.logs.harness import backing_of
from tests.tasks.factory import make_script
from tests.tasks.world import ORG, TurnedClock, World, make_world

OTHER_ORG = OrganizationId("org-2")


class Objects(MemoryBlobs):
    """Where archived logs lie; ``away`` while it cannot be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.away: Exception | None = None

    async def delete(self, key: str) -> None:
        if self.away is not None:
            raise self.away
        self.blobs.pop(key, None)


@dataclass
class Scripts:
    """The verbs' dependencies, with what tests need to look behind them."""

    world: World
    deps: ScriptDeps
    store: ScriptStore
    logs: LogStore
    backing: LogBacking
    objects: Objects
    retention: RetentionDeps

    @property
    def clock(self) -> TurnedClock:
        return self.world.clock

    async def ended(
        self, at: datetime, *, size: int = 100, archived: bool = True, **fields: object
    ) -> Task:
        """A script's task with a log of so many bytes that ended then."""
        task = make_script(TaskState.SUCCESS, created_at=at, **fields)
        await self.log_of(task.id, at, size=size, archived=archived)
        async with self.world.transactions.write() as tx:
            return await self.world.tasks.store.insert(tx, task)

    async def log_of(
        self, task_id: TaskId, at: datetime, *, size: int, archived: bool
    ) -> None:
        from tests.logs.test_store import the_end, unit_of

        async with self.world.transactions.write() as tx:
            await self.logs.open(tx, task_id, at=at)
            await self.logs.put(tx, unit_of(task_id, b"x" * (size - 1) + b"\n"))
            record = await self.logs.get(tx, task_id)
            assert record is not None
            assert await self.logs.seal(tx, record, the_end(record), at=at)
        if not archived:
            return
        key = f"logs/{task_id}.slz"
        await self.objects.put(key, b"archived")
        async with self.world.transactions.write() as tx:
            await self.logs.set_archived(
                tx, task_id, blob_key=key, at=at + timedelta(seconds=5)
            )


@pytest.fixture
async def scripts(transactions: Backing, tmp_path: Path) -> AsyncIterator[Scripts]:
    """Everything, with the organization `default` and its pool `idc1`."""
    world = await make_world(transactions, tmp_path)
    objects = Objects()
    backing = backing_of(transactions.transactions, objects)
    logs = backing.store
    store: ScriptStore = SqlScriptStore()
    if transactions.kind == "memory":
        store = MemoryScriptStore(transactions.memory, world.tasks.store, logs)
    deps = ScriptDeps(
        transactions=world.transactions,
        store=store,
        auth=world.agents.auth,
        tasks=world.tasks,
        pools=world.agents.store,
        keyring=world.tasks.keyring,
        clock=world.clock,
    )
    retention = RetentionDeps(
        transactions=world.transactions,
        scripts=store,
        logs=logs,
        late=world.tasks.late,
        blobs=objects,
        clock=world.clock,
        metrics=RetentionMetrics(CollectorRegistry()),
        days=7,
    )
    yield Scripts(world, deps, store, logs, backing, objects, retention)
    await backing.lane.close()


__all__ = ["ORG", "OTHER_ORG", "Scripts"]
