import asyncio
from dataclasses import replace

import pytest

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import VariableId, WorkspaceId
from sluice.base.paging import Page
from sluice.terraform.lock_info import LockInfo
from sluice.wire.agent import Engine
from sluice.wire.shapes.workspaces import (
    ExecutionMode,
    LockHolderKind,
    VariableCategory,
)
from sluice.workspaces.model import Lock, Variable
from sluice.workspaces.ports import WorkspaceFilter
from tests.conftest import Backing
from tests.workspaces.rig import (
    NOW,
    ORG,
    OTHER_ORG,
    POOL,
    WS,
    Stores,
    make_lock,
    make_workspace,
)

NEVER = WorkspaceId("ws-none")


def make_variable(key: str = "region", **fields: object) -> Variable:
    variable = Variable(
        id=VariableId(f"var-{key}"),
        workspace_id=WS,
        key=key,
        category=VariableCategory.TERRAFORM,
        hcl=False,
        sensitive=False,
        value="eu",
        sealed=None,
        description="",
        updated_at=NOW,
    )
    return replace(variable, **fields)  # type: ignore[arg-type]


async def test_what_is_added_is_found(transactions: Backing, stores: Stores) -> None:
    async with transactions.transactions.read() as tx:
        assert await stores.workspaces.get(tx, WS) == make_workspace()
        assert await stores.workspaces.find(tx, ORG, "hello") == make_workspace()
        assert await stores.workspaces.find(tx, OTHER_ORG, "hello") is None
        assert await stores.workspaces.find(tx, ORG, "other") is None
        assert await stores.workspaces.get(tx, NEVER) is None


async def test_a_name_is_taken_once_in_an_organization(
    transactions: Backing, stores: Stores
) -> None:
    second = WorkspaceId("ws-2")
    with pytest.raises(ConflictError, match="hello"):
        async with transactions.transactions.write() as tx:
            await stores.workspaces.add(tx, make_workspace(second))
    async with transactions.transactions.write() as tx:
        elsewhere = make_workspace(second, organization_id=OTHER_ORG)
        await stores.workspaces.add(tx, elsewhere)
        assert await stores.workspaces.find(tx, OTHER_ORG, "hello") == elsewhere


async def test_a_rename_to_a_taken_name_is_refused(
    transactions: Backing, stores: Stores
) -> None:
    other = make_workspace(WorkspaceId("ws-2"), "bye")
    async with transactions.transactions.write() as tx:
        await stores.workspaces.add(tx, other)
    with pytest.raises(ConflictError):
        async with transactions.transactions.write() as tx:
            await stores.workspaces.save(tx, replace(other, name="hello"))


async def test_save_keeps_the_lock_and_the_divergence(
    transactions: Backing, stores: Stores
) -> None:
    changed = replace(
        make_workspace(),
        name="renamed",
        execution_mode=ExecutionMode.PLAN_ONLY,
        auto_apply=True,
        working_directory="env/prod",
        terraform_version="~> 1.11.0",
        engine=Engine.OPENTOFU,
        pool_id=POOL,
    )
    lock = make_lock()
    async with transactions.transactions.write() as tx:
        await stores.workspaces.take_lock(tx, WS, lock)
        await stores.workspaces.set_diverged(tx, WS, "kept on agent-1")
        await stores.workspaces.save(tx, changed)
    async with transactions.transactions.read() as tx:
        found = await stores.workspaces.get(tx, WS)
    assert found == replace(changed, lock=lock, state_diverged="kept on agent-1")


async def test_workspaces_are_listed_by_name_in_pages(
    transactions: Backing, stores: Stores
) -> None:
    async with transactions.transactions.write() as tx:
        for number, name in enumerate(["zebra", "ape", "mouse"]):
            made = make_workspace(WorkspaceId(f"ws-a{number}"), name)
            await stores.workspaces.add(tx, made)
        foreign = make_workspace(WorkspaceId("ws-b"), "foreign", OTHER_ORG)
        await stores.workspaces.add(tx, foreign)

    async def names(
        which: WorkspaceFilter, page: Page | None = None
    ) -> tuple[list[str], int]:
        async with transactions.transactions.read() as tx:
            found, total = await stores.workspaces.list_workspaces(
                tx, which, page or Page()
            )
        return [workspace.name for workspace in found], total

    everything = WorkspaceFilter(ORG)
    assert await names(everything) == (["ape", "hello", "mouse", "zebra"], 4)
    assert await names(everything, Page(2, 1)) == (["hello", "mouse"], 4)
    assert await names(WorkspaceFilter(OTHER_ORG)) == (["foreign"], 1)
    seen = frozenset({WorkspaceId("ws-a0"), WorkspaceId("ws-a2"), WorkspaceId("ws-b")})
    some = WorkspaceFilter(ORG, visible=seen)
    assert await names(some) == (["mouse", "zebra"], 2)
    assert await names(some, Page(1, 1)) == (["zebra"], 2)
    assert await names(WorkspaceFilter(ORG, visible=frozenset())) == ([], 0)
    assert await names(WorkspaceFilter(ORG, "ape")) == (["ape"], 1)
    assert await names(WorkspaceFilter(ORG, "ape", seen)) == ([], 0)


async def test_the_lock_has_one_holder(transactions: Backing, stores: Stores) -> None:
    first, second = make_lock("ann"), replace(make_lock("bob"), id="lock-2")
    async with transactions.transactions.write() as tx:
        assert await stores.workspaces.take_lock(tx, WS, first) is None
        assert await stores.workspaces.take_lock(tx, WS, second) == first
        assert not await stores.workspaces.release_lock(tx, WS, second.id)
        assert await stores.workspaces.release_lock(tx, WS, first.id)
        assert not await stores.workspaces.release_lock(tx, WS, first.id)
        assert await stores.workspaces.take_lock(tx, WS, second) is None
        with pytest.raises(NotFoundError, match=NEVER):
            await stores.workspaces.take_lock(tx, NEVER, first)


async def test_terraforms_lock_document_is_kept(
    transactions: Backing, stores: Stores
) -> None:
    info = LockInfo(id="abc", operation="OperationTypeApply", who="ann@laptop")
    lock = Lock("abc", "ann", LockHolderKind.TERRAFORM, "apply", NOW, info)
    async with transactions.transactions.write() as tx:
        await stores.workspaces.take_lock(tx, WS, lock)
    async with transactions.transactions.read() as tx:
        found = await stores.workspaces.get(tx, WS)
    assert found is not None
    assert found.lock == lock


async def test_of_many_who_want_the_lock_one_gets_it(
    transactions: Backing, stores: Stores
) -> None:
    taken = []

    async def try_it(name: str) -> None:
        lock = replace(make_lock(name), id=f"lock-{name}")
        async with transactions.transactions.write() as tx:
            if await stores.workspaces.take_lock(tx, WS, lock) is None:
                taken.append(lock)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(try_it(f"user{number}"))
    async with transactions.transactions.read() as tx:
        found = await stores.workspaces.get(tx, WS)
    assert found is not None
    assert [found.lock] == taken


async def test_a_workspace_on_hold_waits_for_the_holder(
    transactions: Backing, stores: Stores
) -> None:
    order = []
    held = asyncio.Event()

    async def first() -> None:
        async with transactions.transactions.write() as tx:
            assert await stores.workspaces.hold(tx, WS) == make_workspace()
            held.set()
            await asyncio.sleep(0.1)
            await stores.workspaces.set_diverged(tx, WS, "first")
            order.append("first")

    async def second() -> None:
        await held.wait()
        async with transactions.transactions.write() as tx:
            found = await stores.workspaces.hold(tx, WS)
            assert found is not None
            assert found.state_diverged == "first"
            order.append("second")

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        group.create_task(second())
    assert order == ["first", "second"]


async def test_variables_are_kept_by_category_and_key(
    transactions: Backing, stores: Stores
) -> None:
    plain = make_variable("zone")
    secret = make_variable("key", sensitive=True, value=None, sealed=b"\x00\xff")
    env = make_variable("AWS", category=VariableCategory.ENV)
    async with transactions.transactions.write() as tx:
        for variable in (plain, secret, env):
            await stores.variables.add(tx, variable)
    async with transactions.transactions.read() as tx:
        assert await stores.variables.list_variables(tx, WS) == [env, secret, plain]
        assert await stores.variables.get(tx, WS, secret.id) == secret
        assert await stores.variables.get(tx, NEVER, secret.id) is None
        assert await stores.variables.list_variables(tx, NEVER) == []
    changed = replace(plain, value="us", hcl=True, description="where")
    async with transactions.transactions.write() as tx:
        await stores.variables.save(tx, changed)
        await stores.variables.delete(tx, secret.id)
        assert await stores.variables.list_variables(tx, WS) == [env, changed]
        await stores.variables.delete_all(tx, WS)
        assert await stores.variables.list_variables(tx, WS) == []


async def test_a_variable_of_the_same_key_and_category_is_refused(
    transactions: Backing, stores: Stores
) -> None:
    first = make_variable("region")
    async with transactions.transactions.write() as tx:
        await stores.variables.add(tx, first)
        as_env = replace(first, id=VariableId("var-2"), category=VariableCategory.ENV)
        await stores.variables.add(tx, as_env)
    with pytest.raises(ConflictError, match="region"):
        async with transactions.transactions.write() as tx:
            await stores.variables.add(tx, replace(first, id=VariableId("var-3")))


async def test_a_deleted_workspace_is_gone(
    transactions: Backing, stores: Stores
) -> None:
    async with transactions.transactions.write() as tx:
        await stores.workspaces.delete(tx, WS)
    async with transactions.transactions.read() as tx:
        assert await stores.workspaces.get(tx, WS) is None


# --- many at once, as claims look at them ---------------------------------------


async def test_many_workspaces_are_read_held_and_locked_at_once(
    transactions: Backing, stores: Stores
) -> None:
    second = make_workspace(WorkspaceId("ws-2"), "second")
    lock = make_lock()
    async with transactions.transactions.write() as tx:
        await stores.workspaces.add(tx, second)
        asked = [WS, second.id, NEVER]
        both = {WS: make_workspace(), second.id: second}
        assert await stores.workspaces.get_many(tx, asked) == both
        assert await stores.workspaces.get_many(tx, []) == {}
        assert await stores.workspaces.hold_free(tx, asked) == both
        await stores.workspaces.set_locks(tx, {WS: lock})
        await stores.workspaces.set_locks(tx, {})
        found = await stores.workspaces.get_many(tx, asked)
    assert {workspace.id: workspace.lock for workspace in found.values()} == {
        WS: lock,
        second.id: None,
    }


# only PostgreSQL has two who write at a time
@pytest.mark.parametrize("backing_url", ["postgresql"], indirect=True)
async def test_a_held_workspace_is_left_out_and_not_waited_for(
    transactions: Backing, stores: Stores
) -> None:
    async with transactions.transactions.write() as holder:
        await stores.workspaces.hold(holder, WS)
        async with transactions.transactions.write() as tx:
            assert await stores.workspaces.hold_free(tx, [WS]) == {}
    async with transactions.transactions.write() as tx:
        assert await stores.workspaces.hold_free(tx, [WS]) == {WS: make_workspace()}


async def test_variables_of_many_workspaces(
    transactions: Backing, stores: Stores
) -> None:
    second = make_workspace(WorkspaceId("ws-2"), "second")
    async with transactions.transactions.write() as tx:
        await stores.workspaces.add(tx, second)
        ours = [make_variable("a"), make_variable("b")]
        theirs = make_variable("c", workspace_id=second.id)
        for variable in (ours[1], theirs, ours[0]):
            await stores.variables.add(tx, variable)
        asked = [WS, second.id, NEVER]
        assert await stores.variables.list_many(tx, asked) == {
            WS: ours,
            second.id: [theirs],
        }
        assert await stores.variables.list_many(tx, [NEVER]) == {}
