"""What run tasks say moves no terminal: of escape sequences only colours reach it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sluice.wire.texts import storable
from tests.agents.house import open_house
from tests.cli.conftest import Shell
from tests.cli.terminal import Place
from tests.cli.test_hostile import OWN, SGR, left
from tests.runtasks.services import (
    asked,
    attach,
    call_back,
    document,
    new_task,
    open_settings,
    results,
    run_task,
    service,
)
from tests.support.hostile import ALL, HIDDEN, PAGE, TERMINAL

MESSAGE = "".join([PAGE[0], *TERMINAL[::9], *HIDDEN[:4]])[:900] + "the end of it"
BODY = "".join(f"{text}\n" for text in ALL) + "the last line"


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A server that may call services on this machine."""
    async with open_house(open_settings(tmp_path / "server")) as house:
        place = Place(tmp_path, url=house.serving.url, token=house.admin.token)
        yield Shell(house, place)


def said() -> Any:
    """A callback with every payload in its outcomes, each in the words that hold it."""
    body = document("failed", MESSAGE, url="https://e.example.com/\x1b[2J\x9d0;x\x07")
    pairs = [ALL[at : at + 2] for at in range(0, len(ALL), 2)]
    outcomes = [
        {
            "type": "task-result-outcomes",
            "attributes": {
                "outcome-id": pair[0][:64],
                "description": pair[-1],
                "body": BODY if number == 0 else pair[0],
                "url": f"https://e.example.com/{number}?{pair[0]}",
                "tags": {pair[0][:64]: [{"label": pair[-1][:32], "level": "error"}]},
            },
        }
        for number, pair in enumerate(pairs)
    ]
    body["data"]["relationships"] = {"outcomes": {"data": outcomes}}
    return body


async def on_a_terminal(shell: Shell, *arguments: str, code: int = 0) -> str:
    """All that a command writes to a terminal, escape sequences with it."""

    def run() -> str:
        with shell.place.terminal(*arguments) as shown:
            assert shown.wait(60) == code, shown.text
            return shown.raw.replace("\r\n", "\n")

    return await asyncio.to_thread(run)


async def test_results_and_bodies_move_no_terminal(shell: Shell) -> None:
    house = shell.house
    async with service() as checks:
        workspace = await asked(house, checks.url)
        lenient = await run_task(house, "lenient", checks.url)
        await attach(house, workspace, lenient, "pre_plan", "advisory")
        task_id = await new_task(house, workspace)
        calls = {
            call.payload["task_result_enforcement_level"]: call
            for call in [await checks.call(0), await checks.call(1)]
        }
        answer = await call_back(house, calls["mandatory"], said())
        assert answer.status_code == 200, answer.text
        outcomes = (await results(house, workspace, task_id))[0]["outcomes"]
        assert len(outcomes) == -(-len(ALL) // 2)

        show = ("run-task", "results", task_id)
        body = (*show, "--outcome", outcomes[0]["id"])
        shown = await on_a_terminal(shell, *show)
        assert left(shown) == []
        # one row an outcome: no payload makes a row of its own, or hides one
        table = await shell.ok(*show)
        assert SGR.sub("", shown).startswith(table)
        rows = table.split("\n\n")[1].splitlines()[1:]
        assert [row.split()[1] for row in rows] == [one["id"] for one in outcomes]
        told = await on_a_terminal(shell, *show, "--json")
        assert left(told) == []
        assert json.loads(told)["results"][0]["outcomes"] == outcomes

        shown = await on_a_terminal(shell, *body)
        assert left(shown) == []
        assert all(text in shown for text in (*PAGE, "the last line"))
        told = await on_a_terminal(shell, *body, "--json")
        assert left(told) == []
        assert json.loads(told) == {"id": outcomes[0]["id"], "body": storable(BODY)}

        reason = MESSAGE.replace("\0", " ")
        override = ("run-task", "override", task_id, "checks", "--reason", reason)
        assert left(await on_a_terminal(shell, *override)) == []
        await call_back(house, calls["advisory"], document("failed", MESSAGE))
        [first, second] = await results(house, workspace, task_id)
        assert (first["override"]["reason"], second["message"]) == (reason, MESSAGE)
        for arguments in (show, ("task", "show", task_id), ("logs", task_id)):
            shown = await on_a_terminal(shell, *arguments)
            assert left(OWN.sub("", shown)) == [], arguments
        assert PAGE[0] in shown
