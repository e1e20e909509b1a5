from dataclasses import replace

from sluice.base.ids import StateVersionId, TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.state.model import StateVersion
from tests.conftest import Backing
from tests.workspaces.rig import NOW, WS, Stores

NEVER = WorkspaceId("ws-none")


def make_version(sequence: int) -> StateVersion:
    return StateVersion(
        id=StateVersionId(f"sv-{sequence}"),
        workspace_id=WS,
        sequence=sequence,
        serial=2**40 + sequence,
        lineage="line-1",
        sha256="ab" * 32,
        md5="cd" * 16,
        size_bytes=5 * 2**31,
        terraform_version="1.11.4",
        resource_count=3,
        blob_key=f"states/sv-{sequence}",
        task_id=None,
        rollback_of=None,
        created_by="ann",
        created_at=NOW,
    )


async def test_what_is_added_is_found(transactions: Backing, stores: Stores) -> None:
    first = make_version(1)
    second = replace(make_version(2), task_id=TaskId("task-1"), rollback_of=first.id)
    async with transactions.transactions.write() as tx:
        await stores.states.add(tx, first, b"\x00sealed")
        await stores.states.add(tx, second, None)
    async with transactions.transactions.read() as tx:
        assert await stores.states.get(tx, first.id) == first
        assert await stores.states.get(tx, second.id) == second
        assert await stores.states.get(tx, StateVersionId("sv-none")) is None
        assert await stores.states.sealed_outputs(tx, first.id) == b"\x00sealed"
        assert await stores.states.sealed_outputs(tx, second.id) is None
        assert await stores.states.sealed_outputs(tx, StateVersionId("no")) is None


async def test_the_newest_is_that_of_the_highest_sequence(
    transactions: Backing, stores: Stores
) -> None:
    versions = [make_version(sequence) for sequence in (2, 10, 1)]
    async with transactions.transactions.write() as tx:
        assert await stores.states.newest(tx, WS) is None
        for version in versions:
            await stores.states.add(tx, version, None)
    async with transactions.transactions.read() as tx:
        assert await stores.states.newest(tx, WS) == versions[1]
        assert await stores.states.newest(tx, NEVER) is None
        listed = await stores.states.list_versions(tx, WS, Page())
        assert [version.sequence for version in listed] == [10, 2, 1]
        page = await stores.states.list_versions(tx, WS, Page(limit=1, offset=1))
        assert [version.sequence for version in page] == [2]


async def test_all_of_a_workspace_go(transactions: Backing, stores: Stores) -> None:
    deleted = replace(make_version(2), size_bytes=0, blob_key="")
    async with transactions.transactions.write() as tx:
        await stores.states.add(tx, make_version(1), b"x")
        await stores.states.add(tx, deleted, None)
        assert await stores.states.blob_keys(tx, WS) == ["states/sv-1"]
        await stores.states.delete_all(tx, NEVER)
        assert await stores.states.newest(tx, WS) == deleted
        await stores.states.delete_all(tx, WS)
        assert await stores.states.newest(tx, WS) is None
        assert await stores.states.blob_keys(tx, WS) == []
