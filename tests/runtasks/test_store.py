"""The port suite of run tasks and attachments: memory, SQLite and PostgreSQL."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, RunTaskId, WorkspaceId, WorkspaceRunTaskId
from sluice.base.paging import Page
from sluice.base.transactions import Transactions
from sluice.runtasks.asking import asked_of
from sluice.runtasks.belongings import AttachmentBelongings
from sluice.runtasks.model import RunTask, WorkspaceRunTask
from sluice.runtasks.ports import RunTaskStore
from sluice.runtasks.store import SqlRunTaskStore
from sluice.testing.memory_run_tasks import MemoryRunTaskStore
from sluice.wire.run_task import RunTaskStage
from tests.conftest import Backing
from tests.runtasks.definitions import (
    ADVISORY,
    MANDATORY,
    NOW,
    ORG,
    WS,
    make_attachment,
    make_run_task,
)
from tests.workspaces.rig import OTHER_ORG, fill, make_workspace, stores_on

OTHER_WS, FOREIGN_WS = WorkspaceId("ws-2"), WorkspaceId("ws-3")
PRE, POST = RunTaskStage.PRE_PLAN, RunTaskStage.POST_PLAN


@dataclass(frozen=True, slots=True)
class World:
    """A store, with the workspaces `WS` and `OTHER_WS`, and `FOREIGN_WS` of `OTHER_ORG`."""

    transactions: Transactions
    store: RunTaskStore

    async def add(self, *run_tasks: RunTask) -> None:
        async with self.transactions.write() as tx:
            for run_task in run_tasks:
                await self.store.add(tx, run_task)

    async def attach(self, *attachments: WorkspaceRunTask) -> None:
        async with self.transactions.write() as tx:
            for attachment in attachments:
                await self.store.attach(tx, attachment)


@pytest.fixture
async def world(transactions: Backing) -> World:
    stores = stores_on(transactions)
    await fill(transactions.transactions, stores)
    async with transactions.transactions.write() as tx:
        await stores.workspaces.add(tx, make_workspace(OTHER_WS, "net"))
        foreign = make_workspace(FOREIGN_WS, "net", OTHER_ORG)
        await stores.workspaces.add(tx, foreign)
    store: RunTaskStore = SqlRunTaskStore()
    if transactions.kind == "memory":
        store = MemoryRunTaskStore(transactions.memory)
    return World(transactions.transactions, store)


def full_run_task() -> RunTask:
    return make_run_task(
        "full",
        description="scans ü\nall",
        sealed_key=b"\x00\xff sealed",
        signature_prefix=True,
        enabled=False,
        timeout_seconds=3600,
        is_global=True,
        global_stages=(PRE, RunTaskStage.POST_APPLY),
        global_level=MANDATORY,
        callback_allowed_cidrs=("203.0.113.0/24", "2001:db8::/32"),
        team_id="team-1",
        updated_at=NOW + timedelta(days=1),
    )


async def test_run_tasks_come_back_as_stored(world: World) -> None:
    full, plain = full_run_task(), make_run_task("plain")
    await world.add(full, plain)
    async with world.transactions.read() as tx:
        assert await world.store.get(tx, full.id) == full
        assert await world.store.get(tx, plain.id) == plain
        assert await world.store.get(tx, RunTaskId("none")) is None
        found = await world.store.get_many(tx, [full.id, plain.id, RunTaskId("none")])
        assert found == {full.id: full, plain.id: plain}
        assert await world.store.get_many(tx, []) == {}
    async with world.transactions.write() as tx:
        assert await world.store.hold(tx, full.id) == full
        assert await world.store.hold(tx, RunTaskId("none")) is None


async def test_a_page_is_by_name_and_of_one_organization(world: World) -> None:
    names = ["delta", "alpha", "charlie", "bravo"]
    await world.add(
        *(make_run_task(name) for name in names),
        make_run_task("alpha", id=RunTaskId("rt-x"), organization_id=OTHER_ORG),
    )
    async with world.transactions.read() as tx:
        first, total = await world.store.page(tx, ORG, Page(3, 0))
        assert [one.name for one in first] == ["alpha", "bravo", "charlie"]
        assert total == 4
        rest, total = await world.store.page(tx, ORG, Page(3, 3))
        assert ([one.name for one in rest], total) == (["delta"], 4)
        assert await world.store.page(tx, ORG, Page(3, 6)) == ([], 4)
        nobody = OrganizationId("none")
        assert await world.store.page(tx, nobody, Page()) == ([], 0)


async def test_a_name_is_unique_in_its_organization(world: World) -> None:
    first, second = make_run_task("one"), make_run_task("two")
    await world.add(first, second)
    with pytest.raises(ConflictError, match="'one' already"):
        await world.add(make_run_task("one", id=RunTaskId("rt-x")))
    with pytest.raises(ConflictError, match="'one' already"):
        async with world.transactions.write() as tx:
            await world.store.save(tx, replace(second, name="one"))
    async with world.transactions.read() as tx:
        assert await world.store.get(tx, second.id) == second


async def test_run_tasks_are_changed_and_deleted(world: World) -> None:
    plain = make_run_task("plain")
    await world.add(plain)
    changed = replace(full_run_task(), id=plain.id)
    async with world.transactions.write() as tx:
        await world.store.save(tx, changed)
        await world.store.save(tx, make_run_task("unknown"))
    async with world.transactions.read() as tx:
        assert await world.store.get(tx, plain.id) == changed
        assert await world.store.page(tx, ORG, Page()) == ([changed], 1)
    async with world.transactions.write() as tx:
        await world.store.delete(tx, plain.id)
        await world.store.delete(tx, plain.id)
        assert await world.store.get(tx, plain.id) is None


async def test_attachments_come_back_as_stored_and_in_order(world: World) -> None:
    scan = make_run_task("scan")
    await world.add(scan)
    late = make_attachment(scan, PRE, created_at=NOW + timedelta(minutes=1))
    early = make_attachment(scan, POST, ADVISORY, enabled=False)
    elsewhere = make_attachment(scan, POST, workspace_id=OTHER_WS)
    await world.attach(late, early, elsewhere)
    async with world.transactions.read() as tx:
        assert await world.store.attachments(tx, WS) == [early, late]
        assert await world.store.attachments(tx, FOREIGN_WS) == []
        assert await world.store.get_attachment(tx, WS, late.id) == late
        assert await world.store.get_attachment(tx, OTHER_WS, late.id) is None
        nothing = WorkspaceRunTaskId("none")
        assert await world.store.get_attachment(tx, WS, nothing) is None


async def test_one_attachment_for_each_stage(world: World) -> None:
    scan = make_run_task("scan")
    await world.add(scan)
    first, second = make_attachment(scan, PRE), make_attachment(scan, POST)
    await world.attach(first, second, make_attachment(scan, workspace_id=OTHER_WS))
    double = replace(first, id=WorkspaceRunTaskId("wrt-x"))
    with pytest.raises(ConflictError, match="at pre_plan already"):
        await world.attach(double)
    with pytest.raises(ConflictError, match="at pre_plan already"):
        async with world.transactions.write() as tx:
            await world.store.save_attachment(tx, replace(second, stage=PRE))
    async with world.transactions.read() as tx:
        assert len(await world.store.attachments(tx, WS)) == 2


async def test_attachments_are_changed_and_taken_away(world: World) -> None:
    scan = make_run_task("scan")
    await world.add(scan)
    attached = make_attachment(scan, PRE)
    await world.attach(attached)
    changed = replace(
        attached,
        stage=RunTaskStage.PRE_APPLY,
        enforcement_level=ADVISORY,
        enabled=False,
    )
    async with world.transactions.write() as tx:
        await world.store.save_attachment(tx, changed)
        await world.store.save_attachment(
            tx, replace(changed, id=WorkspaceRunTaskId("none"))
        )
        assert await world.store.attachments(tx, WS) == [changed]
        await world.store.detach(tx, attached.id)
        await world.store.detach(tx, attached.id)
        assert await world.store.attachments(tx, WS) == []


async def test_where_run_tasks_are_attached(world: World) -> None:
    scan, cost, idle = (make_run_task(name) for name in ("scan", "cost", "idle"))
    await world.add(scan, cost, idle)
    await world.attach(
        make_attachment(scan, PRE),
        make_attachment(scan, POST),
        make_attachment(scan, POST, workspace_id=OTHER_WS),
        make_attachment(cost, POST),
    )
    async with world.transactions.read() as tx:
        counts = await world.store.workspace_counts(tx, [scan.id, cost.id, idle.id])
        assert counts == {scan.id: 2, cost.id: 1}
        assert await world.store.workspace_counts(tx, []) == {}
        found = await world.store.workspaces_with(tx, scan.id)
        assert sorted(found) == [WS, OTHER_WS]
        assert await world.store.workspaces_with(tx, idle.id) == []


async def test_attachments_go_with_their_run_task(world: World) -> None:
    scan, cost = make_run_task("scan"), make_run_task("cost")
    await world.add(scan, cost)
    stays = make_attachment(cost, POST)
    await world.attach(make_attachment(scan, PRE), stays)
    async with world.transactions.write() as tx:
        await world.store.delete(tx, scan.id)
        assert await world.store.attachments(tx, WS) == [stays]


async def test_attachments_go_with_their_workspace(
    world: World, transactions: Backing
) -> None:
    scan = make_run_task("scan")
    await world.add(scan)
    stays = make_attachment(scan, PRE, workspace_id=OTHER_WS)
    await world.attach(make_attachment(scan, PRE), make_attachment(scan, POST), stays)
    belongings = AttachmentBelongings(world.store)
    async with world.transactions.write() as tx:
        assert await belongings.hindrance(tx, WS) is None
        assert await belongings.clear(tx, WS) == []
        assert await world.store.attachments(tx, WS) == []
        assert await world.store.attachments(tx, OTHER_WS) == [stays]
        assert await world.store.get(tx, scan.id) == scan


@pytest.mark.parametrize("backing_url", ["sqlite", "postgresql"], indirect=True)
async def test_the_database_lets_no_attachment_outlive_its_workspace(
    world: World, transactions: Backing
) -> None:
    scan = make_run_task("scan")
    await world.add(scan)
    await world.attach(make_attachment(scan, PRE))
    async with world.transactions.write() as tx:
        await stores_on(transactions).workspaces.delete(tx, WS)
        assert await world.store.attachments(tx, WS) == []


async def test_what_is_asked_in_a_workspace(world: World) -> None:
    of_all = make_run_task("all", is_global=True, global_stages=(PRE,))
    scan, idle = make_run_task("scan"), make_run_task("idle")
    foreign = make_run_task(
        "foreign", is_global=True, global_stages=(PRE,), organization_id=OTHER_ORG
    )
    await world.add(of_all, scan, idle, foreign)
    attached = make_attachment(scan, POST)
    await world.attach(attached, make_attachment(idle, POST, workspace_id=OTHER_WS))
    async with world.transactions.read() as tx:
        found = await world.store.asked_in(tx, ORG, WS)
        assert found == asked_of([of_all, scan], [attached])
        assert [one.run_task for one in found] == [of_all, scan]
        elsewhere = await world.store.asked_in(tx, OTHER_ORG, FOREIGN_WS)
        assert [one.run_task for one in elsewhere] == [foreign]
