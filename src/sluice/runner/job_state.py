"""Keeps the state of an apply: on the server, or if it will not have it, on the agent."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from sluice.terraform.statefile import BadStateError, parse_state

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def newest_state(module: Path, state: Path) -> Path:
    """The file with terraform's newest state.

    When terraform cannot write the state where it belongs, it leaves ``errored.tfstate``.
    """
    errored = module / "errored.tfstate"
    return errored if errored.exists() else state


def state_problem(path: Path) -> str:
    """Why a file is no whole state; empty where it is one."""
    try:
        parse_state(path.read_bytes())
    except BadStateError as error:
        return str(error)
    return ""


def keep_state(state: Path, *, kept_dir: Path, workspace_id: str, task_id: str) -> Path:
    """Move a state that the server would not take to where an administrator finds it.

    Returns:
        The file, readable by its owner only.
    """
    folder = kept_dir / _UNSAFE.sub("_", workspace_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{_UNSAFE.sub('_', task_id)}.tfstate"
    try:
        state.replace(target)  # needs no space, where it is one file system
    except OSError:
        draft = target.with_suffix(".new")
        shutil.copyfile(state, draft)
        draft.replace(target)
    target.chmod(0o600)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return target
