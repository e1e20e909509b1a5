"""Finds the engine that is already installed on the machine, and its version."""

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sluice.base.errors import InvalidInputError
from sluice.terraform.versions import Version, parse_version

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Installed:
    """A program on the machine and what it says of itself."""

    path: Path
    version: Version


async def find_on_path(program: str) -> Installed | None:
    """The program that the PATH names; None where there is none that can tell its version."""
    return await asyncio.to_thread(_find, program)


def _find(program: str) -> Installed | None:
    found = shutil.which(program)
    version = None if found is None else _version_of(found)
    if found is None or version is None:
        return None
    return Installed(Path(found).absolute(), version)


def _version_of(path: str) -> Version | None:
    command = [path, "version", "-json"]
    try:
        told = subprocess.run(  # noqa: S603 - the program that would run the task
            command, capture_output=True, timeout=_SECONDS, check=True, cwd="/"
        )
        text = told.stdout[max(told.stdout.find(b"{"), 0) :]
        return parse_version(str(json.loads(text)["terraform_version"]))
    except (
        OSError,
        subprocess.SubprocessError,
        ValueError,
        KeyError,
        InvalidInputError,
    ):
        return None
