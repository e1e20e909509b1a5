"""The live status tree of an agent: read from this machine's disk, and drawn as lines."""

import fcntl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from sluice.base.errors import InvalidInputError
from sluice.cli import words
from sluice.wire.agent import LoopStatus
from sluice.wire.shapes.base import Resource

_FILE, _LOCK = "status.json", "agent.lock"


class LocalStatus(Resource):
    """What an agent of this machine wrote last; ``running`` is whether it still does."""

    name: str = ""
    agent_id: str = ""
    url: str = ""
    pid: str = ""
    draining: str = ""
    advice: str = ""
    written_at: datetime
    loops: dict[str, LoopStatus] = {}  # noqa: RUF012 - pydantic copies it
    running: bool = False


def local_status(directory: Path) -> LocalStatus | None:
    """The status of the agent that keeps its data here; None where there is none.

    Raises:
        InvalidInputError: the file is none of an agent.
    """
    path = directory / _FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        told = LocalStatus.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInputError(
            f"{path} is no status of an agent ({fault['msg']})."
        ) from None
    return told.model_copy(update={"running": _held(directory / _LOCK)})


def _held(lock: Path) -> bool:
    """Whether an agent holds its data directory now, as it does while it runs."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@dataclass
class _Branch:
    """One name of the tree: what it is doing, and what is below it."""

    status: LoopStatus | None = None
    below: dict[str, "_Branch"] = field(default_factory=dict)


def tree_lines(
    loops: Mapping[str, LoopStatus], now: datetime, *, unicode: bool = True
) -> list[str]:
    """The loops as a tree: each with what it is doing, and since when.

    Slashes in a name make branches.
    """
    root = _Branch()
    for name, status in loops.items():
        branch = root
        for part in name.split("/"):
            branch = branch.below.setdefault(part, _Branch())
        branch.status = status
    rows = _rows(root, "", unicode=unicode)
    width = max((len(left) for left, _ in rows), default=0)
    return [_line(left, status, width, now) for left, status in rows]


def _rows(
    branch: _Branch, indent: str, *, unicode: bool
) -> list[tuple[str, LoopStatus | None]]:
    corner, tee, bar = ("└─ ", "├─ ", "│  ") if unicode else ("`- ", "|- ", "|  ")
    rows: list[tuple[str, LoopStatus | None]] = []
    for at, (name, child) in enumerate(branch.below.items(), 1):
        last = at == len(branch.below)
        rows.append((f"{indent}{corner if last else tee}{name}", child.status))
        rows += _rows(child, indent + ("   " if last else bar), unicode=unicode)
    return rows


def _line(left: str, status: LoopStatus | None, width: int, now: datetime) -> str:
    if status is None:
        return left
    since = _moment(status.since)
    when = f" ({words.ago(since, now)})" if since else ""
    return f"{left.ljust(width)}  {status.doing}{when}"


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None
