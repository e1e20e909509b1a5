"""Uploads of the attack set are refused by a real server, which keeps nothing of them."""

from pathlib import Path

import httpx2

from sluice.server.settings import load_settings
from tests.agents.house import House, open_house
from tests.terraform.archive_attacks import ATTACKS


async def upload(house: House, workspace_id: str, data: bytes) -> httpx2.Response:
    version = await house.admin.post(
        f"/workspaces/{workspace_id}/configuration-versions", expect=201
    )
    return await house.http.put(
        version["upload_url"],
        content=data,
        headers={"Authorization": f"Bearer {house.admin.token}"},
    )


def files(directory: Path) -> set[str]:
    """All but the database and what belongs to it."""
    return {
        str(item.relative_to(directory))
        for item in directory.rglob("*")
        if item.is_file() and ".db" not in item.name
    }


async def test_every_attack_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    settings = load_settings(
        {"data_dir": tmp_path / "server", "port": 0, "shutdown_seconds": 2}
    )
    async with open_house(settings) as house:
        workspace_id = await house.workspace("web")
        before = files(tmp_path)
        for name, (data, _) in ATTACKS.items():
            answer = await upload(house, workspace_id, data)
            assert answer.status_code == 422, (name, answer.text)
            said = answer.json()
            assert said["code"] in {"bad_archive", "invalid_input"}, name
            assert said["detail"].isprintable(), name
        assert files(tmp_path) == before
        # the server is as well as before
        good = await house.workspace("other")
        assert good
        assert len(files(tmp_path)) > len(before)
