from dataclasses import replace
from datetime import timedelta

from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.configs.model import ConfigurationVersion
from sluice.wire.shapes.configs import ConfigurationStatus
from tests.conftest import Backing
from tests.workspaces.rig import NOW, WS, Stores

NEVER = WorkspaceId("ws-none")


def make_version(name: str, minutes: int = 0) -> ConfigurationVersion:
    return ConfigurationVersion(
        id=ConfigurationVersionId(f"cv-{name}"),
        workspace_id=WS,
        status=ConfigurationStatus.PENDING,
        error="",
        size_bytes=None,
        sha256=None,
        blob_key=None,
        created_by="ann",
        created_at=NOW + timedelta(minutes=minutes),
    )


def uploaded(version: ConfigurationVersion) -> ConfigurationVersion:
    return replace(
        version,
        status=ConfigurationStatus.UPLOADED,
        size_bytes=5 * 2**31,
        sha256="ab" * 32,
        blob_key=f"configs/{version.id}.tar.gz",
    )


async def test_what_is_added_is_found(transactions: Backing, stores: Stores) -> None:
    version = make_version("a")
    async with transactions.transactions.write() as tx:
        await stores.configs.add(tx, version)
    async with transactions.transactions.read() as tx:
        assert await stores.configs.get(tx, version.id) == version
        assert await stores.configs.get(tx, ConfigurationVersionId("cv-no")) is None


async def test_a_version_is_settled_once(transactions: Backing, stores: Stores) -> None:
    version = make_version("a")
    refused = replace(version, status=ConfigurationStatus.ERRORED, error="a bomb")
    async with transactions.transactions.write() as tx:
        await stores.configs.add(tx, version)
        assert await stores.configs.settle(tx, uploaded(version))
        assert not await stores.configs.settle(tx, refused)
        assert not await stores.configs.settle(tx, make_version("unknown"))
    async with transactions.transactions.read() as tx:
        assert await stores.configs.get(tx, version.id) == uploaded(version)


async def test_the_newest_uploaded_is_that_created_last(
    transactions: Backing, stores: Stores
) -> None:
    old, new, pending = (
        make_version(name, at) for at, name in enumerate(["z", "b", "c"])
    )
    async with transactions.transactions.write() as tx:
        for version in (old, new, pending):
            await stores.configs.add(tx, version)
        assert await stores.configs.newest_uploaded(tx, WS) is None
        for version in (new, old):
            await stores.configs.settle(tx, uploaded(version))
        assert await stores.configs.newest_uploaded(tx, WS) == uploaded(new)
        assert await stores.configs.newest_uploaded(tx, NEVER) is None


async def test_all_of_a_workspace_go(transactions: Backing, stores: Stores) -> None:
    one, two = make_version("a"), make_version("b")
    async with transactions.transactions.write() as tx:
        await stores.configs.add(tx, one)
        await stores.configs.add(tx, two)
        await stores.configs.settle(tx, uploaded(two))
        assert await stores.configs.blob_keys(tx, WS) == [uploaded(two).blob_key]
        assert await stores.configs.blob_keys(tx, NEVER) == []
        await stores.configs.delete_all(tx, NEVER)
        assert await stores.configs.get(tx, one.id) == one
        await stores.configs.delete_all(tx, WS)
        assert await stores.configs.get(tx, one.id) is None
