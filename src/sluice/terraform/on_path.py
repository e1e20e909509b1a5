"""Finds the engine that is already installed on the machine, and its version."""

import asyncio
import functools
import json
import os
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
    version = None if found is None else _version_of(found, os.stat(found).st_mtime_ns)
    if found is None or version is None:
        return None
    return Installed(Path(found).absolute(), version)


@functools.lru_cache(maxsize=16)
def _version_of(path: str, _mtime_ns: int) -> Version | None:
    """What a program says of itself; asked again when the file has changed."""
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
