"""A scripted server, and the command pointed at it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluice.server.settings import ServerSettings
from tests.agents.house import House, open_house
from tests.cli.scripted_server import ScriptedServer, scripted_server
from tests.cli.terminal import Place


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    """A server whose only task does what the test says."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, script: ScriptedServer) -> Place:
    """Where the command runs, signed in to the scripted server."""
    return Place(tmp_path, script.url)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A small configuration."""
    directory = tmp_path / "network"
    directory.mkdir()
    (directory / "main.tf").write_text('resource "terraform_data" "x" {}\n')
    return directory


@dataclass(frozen=True)
class Shell:
    """The command, signed in to a real server as its administrator."""

    house: House
    place: Place

    async def ok(self, *arguments: str) -> str:
        """What a command that succeeds writes to stdout."""
        return (await self._run(arguments, 0)).stdout

    async def said(self, *arguments: str, code: int = 0) -> str:
        """What a command writes to stderr."""
        return (await self._run(arguments, code)).stderr

    async def _run(
        self, arguments: tuple[str, ...], code: int
    ) -> subprocess.CompletedProcess[str]:
        done = await asyncio.to_thread(
            self.place.run, *arguments, SLUICE_ORGANIZATION="acme"
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A real server with the pool `idc1`, in which the agent `builder` has registered."""
    settings = ServerSettings(data_dir=tmp_path / "server", port=0, shutdown_seconds=2)
    async with open_house(settings) as house:
        place = Place(tmp_path, url=house.serving.url, token=house.admin.token)
        yield Shell(house, place)
