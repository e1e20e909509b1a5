"""The live status tree: what each loop of the agent is doing now, in words."""

import asyncio
import contextlib
import json
from pathlib import Path

import structlog

from sluice.base.clock import Clock, rfc3339
from sluice.runner.phase_dir import write_json_atomic

WRITE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class StatusNode:
    """One loop's line in the tree."""

    def __init__(self, tree: "StatusTree", name: str) -> None:
        self._tree = tree
        self._name = name

    def say(self, words: str) -> None:
        """Replace what this loop is doing by ``words``."""
        self._tree.put(self._name, words)

    def close(self) -> None:
        """The loop has ended; its line goes."""
        self._tree.drop(self._name)


class StatusTree:
    """All loops' lines, written to a file a moment after they change.

    Args:
        path: the JSON file, ``<data>/status.json``.
        clock: for the times beside the words.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lines: dict[str, tuple[str, str]] = {}
        self._facts: dict[str, str] = {}
        self._changed = asyncio.Event()

    def node(self, name: str) -> StatusNode:
        """A loop's line; slashes in the name make branches."""
        return StatusNode(self, name)

    def fact(self, name: str, value: str) -> None:
        """Something about the agent itself, such as its id; an empty one goes."""
        if self._facts.get(name, "") == value:
            return
        if value:
            self._facts[name] = value
        else:
            del self._facts[name]
        self._changed.set()

    def put(self, name: str, words: str) -> None:
        """Set a line; the same words again keep their time."""
        if self._lines.get(name, ("", ""))[0] != words:
            self._lines[name] = (words, rfc3339(self._clock.now()))
            self._changed.set()

    def drop(self, name: str) -> None:
        """Remove a line."""
        if self._lines.pop(name, None) is not None:
            self._changed.set()

    def lines(self) -> list[tuple[str, str, str]]:
        """Every loop's name, what it is doing and since when; phases come last."""
        named = sorted(self._lines.items(), key=lambda one: ("/" in one[0], one[0]))
        return [(name, words, since) for name, (words, since) in named]

    def snapshot(self) -> dict[str, object]:
        """Facts and lines as they are now."""
        lines = {
            name: {"doing": words, "since": since}
            for name, words, since in self.lines()
        }
        return {
            **self._facts,
            "written_at": rfc3339(self._clock.now()),
            "loops": lines,
        }

    def write(self) -> None:
        """Write the file; a full disk costs the file, not the agent."""
        try:
            write_json_atomic(self._path, json.dumps(self.snapshot(), indent=2))
        except OSError as error:
            _log.warning(
                "status file not written", path=str(self._path), why=str(error)
            )

    async def run(self) -> None:
        """Write the file when something changed, at most once a second."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await self._changed.wait()
                self._changed.clear()
                self.write()
                await asyncio.sleep(WRITE_SECONDS)
        self.write()
