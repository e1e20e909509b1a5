"""`sluice script …` against a real server, with an agent that a test speaks for."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.terminal import Place
from tests.scripts.site import Site, open_site

TOML = """
key = "nginx"
name = "Nginx"
description = "Installs nginx."
interpreter = ["/bin/sh"]
body_file = "install.sh"
timeout_seconds = 90

[[parameters]]
name = "PORT"
type = "integer"
min = 1
max = 65535
default = 80
description = "Where it listens."

[[parameters]]
name = "CHANNEL"
type = "enum"
choices = ["stable", "beta"]
required = true

[[parameters]]
name = "LICENSE"
sensitive = true
default = "hunter2xyz"
"""


@dataclass
class Desk:
    """The command as an admin of a real server."""

    site: Site
    place: Place
    files: Path

    async def run(self, *arguments: str, code: int = 0) -> str:
        done = await self.completed(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    async def completed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.place.run, "script", *arguments)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    files = tmp_path / "files"
    files.mkdir()
    (files / "install.sh").write_text("echo installing\necho done\n")
    (files / "script.toml").write_text(TOML)
    async with open_site(tmp_path / "data") as site:
        token = site.admin.headers["authorization"].removeprefix("Bearer ")
        yield Desk(site, Place(tmp_path, site.url, token), files)


async def test_a_script_is_registered_shown_changed_and_removed(desk: Desk) -> None:
    file = str(desk.files / "script.toml")
    assert await desk.run("list") == ""
    made = json.loads(await desk.run("create", "-f", file, "--json"))
    assert made["body"] == "echo installing\necho done\n"
    assert made["parameters"][2]["has_default"] is True
    assert made["parameters"][2]["default"] is None

    listed = await desk.run("list")
    assert "nginx" in listed
    assert "PORT CHANNEL* LICENSE" in listed
    shown = await desk.run("show", "nginx")
    for words in (
        "/bin/sh 2 lines of text",
        "1m 30s",
        "any pool",
        "stable|beta",
        "(required)",
        "string, sensitive",
        "(set)",
        "Where it listens.",
    ):
        assert words in shown, words
    assert "hunter2xyz" not in shown
    assert json.loads(await desk.run("show", made["id"], "--json"))["key"] == "nginx"

    (desk.files / "change.toml").write_text('description = "Other words."\n')
    await desk.run("update", "nginx", "-f", str(desk.files / "change.toml"))
    changed = json.loads(await desk.run("show", "nginx", "--json"))
    assert changed["description"] == "Other words."
    assert changed["timeout_seconds"] == 90

    assert "needs --yes" in await desk.run("delete", "nginx", code=2)
    assert json.loads(await desk.run("delete", "nginx", "--yes", "--json")) == {
        "id": made["id"],
        "deleted": True,
    }
    assert "no script 'nginx'; there is none" in await desk.run("show", "nginx", code=5)


@pytest.mark.parametrize("exit_code", [0, 3])
async def test_a_run_is_followed_to_its_end(desk: Desk, exit_code: int) -> None:
    await desk.run("create", "-f", str(desk.files / "script.toml"))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(
            desk.completed(
                *("run", "nginx", "--version", "1.2", "--follow"),
                *("--param", "port=8080", "-p", "CHANNEL=beta"),
            )
        )
        run = await desk.site.agent.take(await started(desk))
        assert run.script.environment == {
            "VERSION": "1.2",
            "PORT": "8080",
            "CHANNEL": "beta",
            "LICENSE": "hunter2xyz",
        }
        await run.write("[1/2] one\n[2/2] two\n")
        await run.finish(exit_code, f"the script ended with {exit_code}")
    done = following.result()
    assert done.returncode == (1 if exit_code else 0), done.stderr
    assert "[1/2] one\n[2/2] two\n" in done.stdout
    assert ("Failed" if exit_code else "Succeeded") in done.stderr
    tasks = await asyncio.to_thread(desk.place.run, "task", "list")
    assert tasks.stdout.splitlines()[-1].endswith("nginx 1.2")
    task = await asyncio.to_thread(desk.place.run, "task", "show", run.task_id)
    assert f"Exit code   {exit_code}" in task.stdout
    assert "Script      nginx 1.2" in task.stdout


async def started(desk: Desk) -> str:
    """The task that the command starts, once it has."""
    async with asyncio.timeout(60):
        while True:
            listed = await desk.site.admin.get("/api/v1/organizations/default/scripts")
            task_id = listed.json()[0]["last_task_id"]
            if task_id is not None:
                return str(task_id)
            await asyncio.sleep(0.05)


async def test_a_run_that_is_not_followed_prints_its_task(desk: Desk) -> None:
    await desk.run("create", "-f", str(desk.files / "script.toml"))
    task_id = (await desk.run("run", "nginx", "-p", "channel=stable")).strip()
    assert task_id.startswith("task-")
    said = json.loads(await desk.run("run", "nginx", "-p", "CHANNEL=beta", "--json"))
    assert said["task_id"].startswith("task-")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "apache"), 5, "'apache'"),
        (("run", "nginx"), 2, "CHANNEL: is required"),
        (("run", "nginx", "-p", "CHANNEL"), 2, "write it as name=value"),
        (("run", "nginx", "-p", "key=x"), 2, "there is an option"),
        (
            ("run", "nginx", "-p", "colour=red", "-p", "CHANNEL=beta"),
            2,
            "colour: is no",
        ),
        (("run", "../x"), 2, "key: must match"),
        (("create", "-f", "missing.toml"), 2, "missing.toml"),
        (("create", "-f", "files/bad.toml"), 2, "is no TOML"),
        (("create", "-f", "files/both.toml"), 2, "stands instead of body"),
        (("create", "-f", "files/nobody.toml"), 2, "no-such.sh"),
        (("create", "-f", "files/script.toml"), 6, "key nginx already"),
        (("create", "-f", "files/odd.toml"), 2, "shell: is no field of it"),
        (("create", "-f", "files/wrong.toml"), 2, "timeout_seconds: must be a"),
        (("create", "-f", "files/wrong.toml"), 2, "parameters.0.name: is missing"),
        (
            ("run", "nginx", "-p", "port=99999", "-p", "channel=edge"),
            2,
            "port: must be from 1 to 65535; channel: must be one of",
        ),
    ],
)
async def test_what_cannot_be_done_is_said_in_one_line(
    desk: Desk, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (desk.files / "bad.toml").write_text("key = \n")
    (desk.files / "both.toml").write_text('key="x"\nbody="y"\nbody_file="install.sh"\n')
    (desk.files / "nobody.toml").write_text('key = "x"\nbody_file = "no-such.sh"\n')
    (desk.files / "wrong.toml").write_text(
        'key = "x"\ntimeout_seconds = "long"\n[[parameters]]\ntype = "string"\n'
    )
    (desk.files / "odd.toml").write_text('key = "x"\nshell = "y"\n')
    await desk.run("create", "-f", str(desk.files / "script.toml"))
    said = await desk.run(*arguments, code=code)
    assert words in said
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
