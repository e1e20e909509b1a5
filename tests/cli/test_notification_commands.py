"""`sluice notification …` against a real server and a real receiver."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.house import open_house
from tests.cli.conftest import Shell
from tests.cli.terminal import Place
from tests.runtasks.services import Call, new_task, open_settings, service, until


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """As everywhere, with loopback addresses open."""
    async with open_house(open_settings(tmp_path / "server")) as house:
        place = Place(tmp_path, url=house.serving.url, token=house.admin.token)
        yield Shell(house, place)


async def shown(shell: Shell, *arguments: str) -> Any:
    return json.loads(await shell.ok("notification", *arguments, "--json"))


async def test_notifications_are_kept_and_changed(shell: Shell) -> None:
    assert "no notifications here yet" in await shell.said("notification", "list")
    made = await shown(
        *(shell, "create", "ops", "--kind", "slack"),
        *("--endpoint", "https://hooks.example.com/T0KEN", "--on", "task:errored"),
    )
    assert made["endpoint"] == "https://hooks.example.com"
    assert made["triggers"] == ["task:errored"]
    assert await shown(shell, "list") == [made]
    assert await shown(shell, "show", made["notification_id"]) == made
    text = await shell.ok("notification", "show", "ops")
    for words in ("slack", "all workspaces", "task:errored", "enabled"):
        assert words in text, words
    assert "T0KEN" not in text
    assert "Changed notification chat." in await shell.said(
        *("notification", "update", "ops", "--name", "chat", "--disabled"),
    )
    assert "disabled" in await shell.ok("notification", "list")
    wrong = await shell.said("notification", "show", "ops", code=5)
    assert "there is chat" in wrong
    assert "Nothing to change" in await shell.said(
        "notification", "update", "chat", code=2
    )
    assert "Removed notification chat." in await shell.said(
        "notification", "delete", "chat"
    )
    assert await shown(shell, "list") == []


async def test_a_workspace_has_its_own_and_messages_are_shown(shell: Shell) -> None:
    async def refuse(call: Call) -> int:
        return 404 if call.payload["type"] != "test" else 200

    async with service(refuse) as receiver:
        workspace = await shell.house.workspace("told")
        of = ("--workspace", "told")
        made = await shown(
            *(shell, "create", "ops", "--kind", "webhook", "--endpoint", receiver.url),
            *("--on", "task:created", *of),
        )
        assert made["workspace_id"] == workspace
        assert "was taken" in await shell.said("notification", "test", "ops", *of)
        assert "no messages yet" in await shell.said(
            "notification", "deliveries", "ops", *of
        )
        await new_task(shell.house, workspace)

        async def failed() -> Any:
            path = f"/notifications/{made['notification_id']}/deliveries?status=failed"
            return (await shell.house.admin.get(path))["deliveries"]

        [message] = await until("the message to fail", failed)
        table = await shell.ok("notification", "deliveries", "ops", *of)
        assert "task:created" in table
        assert "it answered with 404" in table
        listed = await shown(shell, "deliveries", "ops", "--status", "failed", *of)
        assert listed["total"] == 1
        assert "is sent again" in await shell.said(
            "notification", "redeliver", "ops", message["delivery_id"], *of
        )
        again = await receiver.call(2)
    assert again.headers["webhook-id"] == message["delivery_id"]


async def test_a_test_that_is_not_taken_fails(shell: Shell) -> None:
    async def refuse(call: Call) -> int:
        return 500

    async with service(refuse) as receiver:
        await shown(
            *(shell, "create", "ops", "--kind", "webhook", "--endpoint", receiver.url)
        )
        said = await shell.said("notification", "test", "ops", code=1)
    assert "answered with 500" in said
