"""What can be done with run tasks, at once and again, on memory, SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditFilter, AuditLog
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import KeyRing
from sluice.base.errors import ConflictError, InvalidInputError, SluiceError
from sluice.base.ids import RunTaskResultId, RunTaskStageId, TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.edge.outgoing import OutgoingFailedError
from sluice.runtasks.actions import (
    RunTaskDeps,
    change_run_task,
    create_run_task,
    delete_run_task,
    get_run_task,
)
from sluice.runtasks.attachments import (
    attach_run_task,
    change_attachment,
    list_attachments,
)
from sluice.runtasks.model import Result, RunTask
from sluice.runtasks.payload import Subject, payload_of
from sluice.runtasks.ports import RunTaskStore
from sluice.runtasks.store import SqlRunTaskStore
from sluice.runtasks.verification import verification_payload, verify_run_task
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_run_tasks import MemoryRunTaskStore
from sluice.wire.run_task import RunTaskStage
from sluice.wire.shapes.run_tasks import (
    RunTaskChange,
    RunTaskInput,
    WorkspaceRunTaskChange,
    WorkspaceRunTaskInput,
)
from tests.conftest import Backing
from tests.runtasks.definitions import MANDATORY, NOW, ORG, WS, make_run_task
from tests.tasks.factory import make_task
from tests.workspaces.rig import (
    TurnedClock,
    fill,
    make_workspace,
    stores_on,
)

KEY = bytes(range(32))
URL = "https://scan.example.com"


@dataclass
class Line:
    """A way out that leads nowhere; ``closed`` once no address is taken any more."""

    closed: bool = False
    sent: int = 0

    def check_url(self, url: str) -> None:
        if self.closed:
            raise InvalidInputError("endpoint_url: no address is taken.")

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> int:
        self.sent += 1
        raise OutgoingFailedError(f"{url} does not answer.")


@dataclass
class World:
    """The deps of the actions, on one kind of store."""

    deps: RunTaskDeps
    line: Line

    async def made(self, name: str = "scan") -> RunTask:
        wanted = RunTaskInput(name=name, endpoint_url=URL, organization_id=ORG)
        return await create_run_task(self.deps, owner=ORG, wanted=wanted, actor="ann")

    async def attached(self, run_task: RunTask, workspace_id: WorkspaceId = WS) -> None:
        wanted = WorkspaceRunTaskInput(
            run_task_id=run_task.id, stage=RunTaskStage.POST_PLAN
        )
        await attach_run_task(
            self.deps, workspace_id=workspace_id, wanted=wanted, actor="ann"
        )

    async def audited(self) -> list[str]:
        async with self.deps.transactions.read() as tx:
            found, _ = await self.deps.audit.page(tx, AuditFilter(), Page(100))
        return [entry.action for entry in reversed(found)]


@pytest.fixture
async def world(transactions: Backing) -> World:
    stores = stores_on(transactions)
    await fill(transactions.transactions, stores)
    store: RunTaskStore = SqlRunTaskStore()
    audit: AuditLog = SqlAuditLog()
    if transactions.kind == "memory":
        store = MemoryRunTaskStore(transactions.memory)
        audit = MemoryAuditLog(transactions.memory)
    clock, line = TurnedClock(), Line()
    issuer = TokenIssuer([KEY], clock)
    deps = RunTaskDeps(
        transactions=transactions.transactions,
        store=store,
        auth=AuthDeps(transactions.transactions, stores.auth, issuer, clock),
        workspaces=stores.workspaces,
        audit=audit,
        endpoints=line,
        public_url="https://sluice.example.com",
        keyring=KeyRing([KEY]),
        clock=clock,
    )
    return World(deps, line)


async def outcomes(*calls: Awaitable[object]) -> list[str]:
    """How calls end that are made at once: names of errors, or ``ok``."""
    ended = await asyncio.gather(*calls, return_exceptions=True)
    for one in ended:
        assert not isinstance(one, BaseException) or isinstance(one, SluiceError), one
    return sorted(
        type(one).__name__ if isinstance(one, SluiceError) else "ok" for one in ended
    )


async def test_of_those_who_take_a_name_at_once_one_gets_it(world: World) -> None:
    found = await outcomes(*(world.made() for _ in range(5)))
    assert found == ["ConflictError"] * 4 + ["ok"]
    assert await world.audited() == ["run_task.create"]


async def test_of_those_who_attach_at_once_one_does(world: World) -> None:
    run_task = await world.made()
    found = await outcomes(*(world.attached(run_task) for _ in range(5)))
    assert found == ["ConflictError"] * 4 + ["ok"]
    assert await world.audited() == ["run_task.create", "workspace_run_task.create"]


async def test_no_attachment_is_left_of_what_is_deleted_meanwhile(world: World) -> None:
    for at in range(5):
        run_task = await world.made(f"scan-{at}")
        deleted, attached = await asyncio.gather(
            delete_run_task(
                world.deps, run_task_id=run_task.id, force=False, actor="ann"
            ),
            world.attached(run_task),
            return_exceptions=True,
        )
        left, total = await list_attachments(world.deps, workspace_id=WS, page=Page())
        if deleted is None:
            assert isinstance(attached, InvalidInputError)
            assert (left, total) == ([], 0)
        else:
            assert isinstance(deleted, ConflictError)
            assert [one.run_task for one in left] == [run_task]
            await delete_run_task(
                world.deps, run_task_id=run_task.id, force=True, actor="ann"
            )


async def test_of_many_workspaces_some_are_named(world: World) -> None:
    run_task = await world.made()
    for at in range(105):
        workspace_id = WorkspaceId(f"ws-{at:03}")
        async with world.deps.transactions.write() as tx:
            spaces: Any = world.deps.workspaces
            await spaces.add(tx, make_workspace(workspace_id, f"net-{at:03}"))
        await world.attached(run_task, workspace_id)
    with pytest.raises(ConflictError) as refused:
        await delete_run_task(
            world.deps, run_task_id=run_task.id, force=False, actor="ann"
        )
    assert " and 85 more; detach" in refused.value.detail
    named: Any = refused.value.extra["workspaces"]
    assert len(named) == 100


async def test_what_fails_is_not_audited(world: World) -> None:
    first, second = await world.made("one"), await world.made("two")
    await world.attached(first)
    before = await world.audited()
    change = RunTaskChange(name="one")
    for call in (
        change_run_task(world.deps, run_task_id=second.id, change=change, actor="ann"),
        world.attached(first),
        delete_run_task(world.deps, run_task_id=first.id, force=False, actor="ann"),
    ):
        with pytest.raises(ConflictError):
            await call
    assert await world.audited() == before
    assert await get_run_task(world.deps, run_task_id=second.id) == second


async def test_an_address_is_judged_when_it_is_changed(world: World) -> None:
    run_task = await world.made()
    world.line.closed = True
    off = await change_run_task(
        world.deps,
        run_task_id=run_task.id,
        change=RunTaskChange(enabled=False, endpoint_url=URL),
        actor="ann",
    )
    assert not off.enabled
    with pytest.raises(InvalidInputError, match="endpoint_url"):
        await change_run_task(
            world.deps,
            run_task_id=run_task.id,
            change=RunTaskChange(endpoint_url="https://other.example.com"),
            actor="ann",
        )
    with pytest.raises(InvalidInputError, match="endpoint_url"):
        await world.made("other")


async def test_a_change_that_changes_nothing_writes_nothing(world: World) -> None:
    run_task = await world.made()
    await world.attached(run_task)
    before = await world.audited()
    change = RunTaskChange(name="scan", hmac_key="", team_id=None, global_stages=[])
    same = await change_run_task(
        world.deps, run_task_id=run_task.id, change=change, actor="ann"
    )
    assert same == run_task
    [one], _ = await list_attachments(world.deps, workspace_id=WS, page=Page())
    also = await change_attachment(
        world.deps,
        workspace_id=WS,
        attachment_id=one.attachment.id,
        change=WorkspaceRunTaskChange(stage=RunTaskStage.POST_PLAN),
        actor="ann",
    )
    assert also == one
    assert await world.audited() == before


async def test_a_service_that_does_not_answer_is_told_of(world: World) -> None:
    run_task = await world.made()
    with pytest.raises(OutgoingFailedError, match="does not answer"):
        await verify_run_task(world.deps, run_task_id=run_task.id, actor="ann")
    assert world.line.sent == 1
    assert await world.audited() == ["run_task.create", "run_task.test"]


def test_a_verification_call_has_every_field_that_a_call_has() -> None:
    run_task = make_run_task("scan")
    payload = verification_payload(run_task, "https://sluice.example.com", NOW)
    real = payload_of(
        Subject(
            result=Result(
                id=RunTaskResultId("rtr-1"),
                stage_id=RunTaskStageId("ts-1"),
                task_id=TaskId("task-1"),
                organization_id=ORG,
                workspace_id=WS,
                run_task_id=run_task.id,
                name="scan",
                stage=RunTaskStage.POST_PLAN,
                level=MANDATORY,
                created_at=NOW,
            ),
            run_task=run_task,
            task=make_task(),
            workspace=make_workspace(),
            organization_name="acme",
            public_url="https://sluice.example.com",
        )
    )
    assert set(payload) == {*real, "access_token"}
    for name, value in real.items():
        if value is not None:
            assert type(payload[name]) is type(value), name
