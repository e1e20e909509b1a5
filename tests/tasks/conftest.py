"""Task stores on each kind of database."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluice.auth.tables import organizations
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Transactions
from sluice.db.engine import connection_of
from sluice.tasks.ports import TaskStore
from sluice.tasks.store import SqlTaskStore
from sluice.testing.memory_tasks import MemoryTaskStore
from sluice.testing.memory_workspaces import MemoryWorkspaceStore
from sluice.workspaces.ports import WorkspaceStore
from sluice.workspaces.store import SqlWorkspaceStore
from tests.conftest import Backing
from tests.tasks.factory import NOW, ORG, OTHER_ORG, make_workspace
from tests.tasks.world import World, make_world

WORKSPACES = (WorkspaceId("ws-1"), WorkspaceId("ws-2"))


@dataclass(frozen=True, slots=True)
class Stores:
    """A task store with workspaces `ws-1`, `ws-2` (org-1) and `ws-other` (org-2)."""

    transactions: Transactions
    tasks: TaskStore
    workspaces: WorkspaceStore


async def add_organizations(backing: Backing, ids: Sequence[OrganizationId]) -> None:
    """Rows that others refer to; the in-memory stores need none."""
    if backing.kind == "memory":
        return
    async with backing.transactions.write() as tx:
        for number in ids:
            await connection_of(tx).execute(
                organizations.insert().values(id=number, name=number, created_at=NOW)
            )


@pytest.fixture
async def stores(transactions: Backing) -> Stores:
    """Fresh stores; the test runs on memory, SQLite and PostgreSQL."""
    if transactions.kind == "memory":
        spaces = MemoryWorkspaceStore(transactions.memory)
        made = Stores(
            transactions.memory, MemoryTaskStore(transactions.memory, spaces), spaces
        )
    else:
        made = Stores(transactions.transactions, SqlTaskStore(), SqlWorkspaceStore())
    await add_organizations(transactions, [ORG, OTHER_ORG])
    async with made.transactions.write() as tx:
        for workspace_id in WORKSPACES:
            await made.workspaces.add(tx, make_workspace(workspace_id))
        foreign = make_workspace(WorkspaceId("ws-other"), organization_id=OTHER_ORG)
        await made.workspaces.add(tx, foreign)
    return made


@pytest.fixture
async def world(transactions: Backing, tmp_path: Path) -> World:
    """All that the verbs of tasks need; the test runs on memory, SQLite and PostgreSQL."""
    return await make_world(transactions, tmp_path)
