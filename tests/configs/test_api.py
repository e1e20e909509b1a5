import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import ConfigurationVersionId
from sluice.configs.actions import newest_uploaded, open_archive
from tests.terraform.tar_maker import SYMLINK, TarMaker
from tests.workspaces.rig import WS, Rig

GOOD = TarMaker().add("main.tf", b"# main\n").gz()
OTHER = TarMaker().add("main.tf", b"# other\n").gz()


async def announced(client: httpx2.AsyncClient) -> dict[str, str]:
    made = await client.post(f"/workspaces/{WS}/configuration-versions")
    assert made.status_code == 201, made.text
    version: dict[str, str] = made.json()
    return version


def path_of(version: dict[str, str]) -> str:
    return version["upload_url"].removeprefix("/api/v1")


async def test_an_upload_is_checked_kept_and_given_back(rig: Rig) -> None:
    async with rig.client() as client:
        version = await announced(client)
        assert version["status"] == "pending"
        assert await newest_uploaded(rig.configs, workspace_id=WS) is None
        uploaded = await client.put(path_of(version), content=GOOD)
        assert uploaded.status_code == 200, uploaded.text
        assert uploaded.json() == {
            **version,
            "status": "uploaded",
            "size_bytes": len(GOOD),
            "sha256": hashlib.sha256(GOOD).hexdigest(),
        }
        shown = await client.get(f"/configuration-versions/{version['id']}")
        assert shown.json() == uploaded.json()
        back = await client.get(f"/configuration-versions/{version['id']}/download")
        assert back.content == GOOD
        assert back.headers["content-type"] == "application/gzip"
    newest = await newest_uploaded(rig.configs, workspace_id=WS)
    assert newest is not None
    assert newest.id == version["id"]
    pieces = await open_archive(rig.configs, configuration_version_id=newest.id)
    assert b"".join([piece async for piece in pieces]) == GOOD


async def test_a_streamed_upload_needs_no_length(rig: Rig) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(GOOD), 7):
            yield GOOD[start : start + 7]

    async with rig.client() as client:
        version = await announced(client)
        uploaded = await client.put(path_of(version), content=pieces())
        assert uploaded.json()["status"] == "uploaded"


async def test_an_unsafe_archive_is_refused_with_the_reason(rig: Rig) -> None:
    bad = TarMaker().add("escape", kind=SYMLINK, target="/etc/passwd").gz()
    async with rig.client() as client:
        version = await announced(client)
        refused = await client.put(path_of(version), content=bad)
        assert refused.status_code == 422
        assert "'escape'" in refused.json()["detail"]
        assert "absolute" in refused.json()["detail"]
        shown = (await client.get(f"/configuration-versions/{version['id']}")).json()
        assert shown["status"] == "errored"
        assert shown["error"] == refused.json()["detail"]
        again = await client.put(path_of(version), content=GOOD)
        assert again.status_code == 409
        assert "make a new" in again.json()["detail"]
        back = await client.get(f"/configuration-versions/{version['id']}/download")
        assert back.status_code == 409
    assert await newest_uploaded(rig.configs, workspace_id=WS) is None
    assert rig.blob_files() == []


async def test_the_same_upload_again_is_fine_and_another_is_not(rig: Rig) -> None:
    async with rig.client() as client:
        version = await announced(client)
        first = await client.put(path_of(version), content=GOOD)
        again = await client.put(path_of(version), content=GOOD)
        assert again.status_code == 200
        assert again.json() == first.json()
        other = await client.put(path_of(version), content=OTHER)
        assert other.status_code == 409
        back = await client.get(f"/configuration-versions/{version['id']}/download")
        assert back.content == GOOD
    assert len(rig.blob_files()) == 1


async def test_of_two_uploads_at_once_one_wins_whole(rig: Rig) -> None:
    async with rig.client() as client:
        version = await announced(client)
        answers = await asyncio.gather(
            *(
                client.put(path_of(version), content=body)
                for body in (GOOD, OTHER, GOOD, OTHER)
            )
        )
        won = [answer for answer in answers if answer.status_code == 200]
        lost = [answer for answer in answers if answer.status_code == 409]
        assert len(won) + len(lost) == 4
        [sha256] = {answer.json()["sha256"] for answer in won}
        back = await client.get(f"/configuration-versions/{version['id']}/download")
        assert hashlib.sha256(back.content).hexdigest() == sha256
    assert len(rig.blob_files()) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_too_large_an_upload_is_refused_and_can_be_repeated(
    rig: Rig, stream: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(101):
            yield bytes(1024 * 1024)

    assert rig.configs.max_bytes == 100 * 1024 * 1024
    async with rig.client() as client:
        version = await announced(client)
        refused = await client.put(
            path_of(version),
            content=pieces() if stream else b"",
            headers={} if stream else {"content-length": str(2**40)},
        )
        assert refused.status_code == 413
        assert str(rig.configs.max_bytes) in refused.json()["detail"]
        assert (await client.put(path_of(version), content=GOOD)).is_success


async def test_unknown_versions_and_workspaces_are_not_found(rig: Rig) -> None:
    async with rig.client() as client:
        for method, path in (
            ("POST", "/workspaces/ws-none/configuration-versions"),
            ("GET", "/configuration-versions/cv-none"),
            ("GET", "/configuration-versions/cv-none/download"),
            ("PUT", "/configuration-versions/cv-none/upload"),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == 404, (method, path)


async def test_a_lost_blob_is_said_before_anything_is_sent(rig: Rig) -> None:
    async with rig.client() as client:
        version = await announced(client)
        await client.put(path_of(version), content=GOOD)
        [key] = rig.blob_files()
        await rig.blobs.delete(key)
        gone = await client.get(f"/configuration-versions/{version['id']}/download")
        assert gone.status_code == 404
        assert gone.json()["code"] == "blob_missing"


async def test_a_version_deleted_during_its_upload_leaves_nothing(rig: Rig) -> None:
    async with rig.client() as client:
        version = await announced(client)

        async def pieces() -> AsyncIterator[bytes]:
            yield GOOD[:20]
            deleted = await client.delete(f"/workspaces/{WS}")
            assert deleted.status_code == 204
            yield GOOD[20:]

        answer = await client.put(path_of(version), content=pieces())
        assert answer.status_code == 404
    assert rig.blob_files() == []


async def test_a_pending_version_has_no_archive(rig: Rig) -> None:
    async with rig.client() as client:
        version_id = ConfigurationVersionId((await announced(client))["id"])
    with pytest.raises(ConflictError, match="pending"):
        await open_archive(rig.configs, configuration_version_id=version_id)
    with pytest.raises(NotFoundError):
        await open_archive(
            replace(rig.configs), configuration_version_id=ConfigurationVersionId("cv")
        )
