"""Which workspace a directory belongs to."""

from pathlib import Path

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.link import Remembered, Wanted, link_of

URL = "https://a.example.com"


@pytest.fixture
def memory(tmp_path: Path) -> Remembered:
    return Remembered(tmp_path / "config", URL)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "My network (prod)"
    place.mkdir()
    return place


def test_the_directory_gives_the_name(directory: Path, memory: Remembered) -> None:
    link = link_of(directory, Wanted(), memory)
    assert link.workspace == "My-network-prod"
    assert link.origin == "named after the directory"


def test_what_was_used_before_wins_over_the_name(
    directory: Path, memory: Remembered, tmp_path: Path
) -> None:
    memory.remember(directory, "ws-1")
    memory.remember(tmp_path, "ws-2")
    link = link_of(directory, Wanted(), memory)
    assert (link.workspace, link.new_name) == ("ws-1", "My-network-prod")
    elsewhere = Remembered(tmp_path / "config", "https://b.example.com")
    assert link_of(directory, Wanted(), elsewhere).workspace == "My-network-prod"


def test_the_file_wins_over_memory_and_the_option_over_all(
    directory: Path, memory: Remembered
) -> None:
    memory.remember(directory, "ws-1")
    (directory / "sluice.toml").write_text('workspace = "net"\norganization = "acme"\n')
    stated = link_of(directory, Wanted(), memory)
    assert (stated.workspace, stated.organization) == ("net", "acme")
    assert stated.origin == "from sluice.toml"
    given = link_of(directory, Wanted(workspace="other"), memory)
    assert (given.workspace, given.organization) == ("other", "acme")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("workspace = ", "cannot be read"),
        ("workspace = 3", "must be a name in quotes"),
        ('workspce = "x"', "'workspce' is not known"),
    ],
)
def test_a_wrong_file_is_named(
    directory: Path, memory: Remembered, content: str, message: str
) -> None:
    (directory / "sluice.toml").write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        link_of(directory, Wanted(), memory)


def test_a_name_that_nothing_is_left_of_is_refused(memory: Remembered) -> None:
    with pytest.raises(InvalidInputError, match="--workspace"):
        link_of(Path("/"), Wanted(), memory)


def test_a_broken_memory_is_only_forgotten(tmp_path: Path) -> None:
    (tmp_path / "links.json").write_text("{")
    memory = Remembered(tmp_path, URL)
    assert memory.workspace_of(tmp_path) is None
    memory.remember(tmp_path, "ws-1")
    assert memory.workspace_of(tmp_path) == "ws-1"
