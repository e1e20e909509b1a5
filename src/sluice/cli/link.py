"""Decides which workspace a directory belongs to.

First what the command line says, then ``sluice.toml`` in the directory, then what was used for
the directory before, then the directory's own name.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sluice.base.errors import InvalidInputError
from sluice.client.settings import write_private

FILE = "sluice.toml"
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_KNOWN = {"workspace", "organization"}


@dataclass(frozen=True, slots=True)
class Link:
    """A workspace's name or id, its organization where one is named, and where it is from.

    ``fallback`` is the name for a new workspace where this one is an id that is gone.
    """

    workspace: str
    organization: str | None
    origin: str
    fallback: str | None = None

    @property
    def new_name(self) -> str:
        """What a workspace that is made for this link is called."""
        return self.fallback or self.workspace


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says; None where it says nothing."""

    workspace: str | None = None
    organization: str | None = None


class Remembered:
    """Which workspaces were used for which directories, by server."""

    def __init__(self, config_directory: Path, url: str) -> None:
        self._path = config_directory / "links.json"
        self._url = url

    def workspace_of(self, directory: Path) -> str | None:
        """The id of the workspace used for ``directory`` before."""
        return self._read().get(self._url, {}).get(str(directory))

    def remember(self, directory: Path, workspace_id: str) -> None:
        """Use this workspace for ``directory`` from now on."""
        links = self._read()
        of_server = links.setdefault(self._url, {})
        if of_server.get(str(directory)) == workspace_id:
            return
        of_server[str(directory)] = workspace_id
        write_private(self._path, msgspec.json.encode(links))

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            return msgspec.json.decode(
                self._path.read_bytes(), type=dict[str, dict[str, str]]
            )
        except (OSError, msgspec.DecodeError):
            # only a memory: without it the directory's name is used
            return {}


def link_of(directory: Path, wanted: Wanted, remembered: Remembered) -> Link:
    """The workspace that ``directory`` (absolute) belongs to.

    Raises:
        InvalidInputError: nothing gives a name that a workspace can have.
    """
    stated = _stated(directory)
    organization = wanted.organization or stated.get("organization")
    if wanted.workspace:
        return Link(wanted.workspace, organization, "from --workspace")
    if "workspace" in stated:
        return Link(stated["workspace"], organization, f"from {FILE}")
    before = remembered.workspace_of(directory)
    if before is not None:
        origin = "as before in this directory"
        return Link(before, organization, origin, fallback=_name_of(directory))
    return Link(_name_of(directory), organization, "named after the directory")


def _stated(directory: Path) -> dict[str, str]:
    path = directory / FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
    unknown = sorted(set(content) - _KNOWN)
    if unknown:
        raise InvalidInputError(
            f"{path}: {unknown[0]!r} is not known; there are `workspace` and `organization`."
        )
    for key, value in content.items():
        if not isinstance(value, str) or not value:
            raise InvalidInputError(f"{path}: `{key}` must be a name in quotes.")
    return content


def _name_of(directory: Path) -> str:
    name = _UNFIT.sub("-", directory.name).strip("-._")[:90]
    if not name:
        raise InvalidInputError(
            f"No workspace can be named after {directory}; say which with --workspace."
        )
    return name
