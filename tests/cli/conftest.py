"""A scripted server, and the command pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
