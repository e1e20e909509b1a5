"""Viewers of every dialect watch the same running task and agree on its lines."""

import json
import threading

from typing_extensions import override
from websockets.sync.client import connect

from tests.e2e.stack import numbered

LINES = 300

WAYS = {
    "batch": "/api/v1/tasks/{}/output/stream?format=batch&after=0",
    "live": "/api/v1/tasks/{}/output/stream?after=0",
    "install": "/v1/log/ws?task_id={}&after=0",
    "agent": "/ws/logs?task_id={}&offset=0",
    "script": "/ws/tasks/{}?after=0",
}


class Watcher(threading.Thread):
    """Collects (number, text) of every line of one dialect."""

    def __init__(self, stack, task_id: str, dialect: str) -> None:
        super().__init__(daemon=True)
        self.stack = stack
        self.task_id = task_id
        self.dialect = dialect
        self.lines: list[str] = []
        self.end: dict | None = None

    @override
    def run(self) -> None:
        address = self.stack.url.replace("http", "ws", 1)
        with connect(
            address + WAYS[self.dialect].format(self.task_id),
            additional_headers=self.stack.headers,
            max_size=None,
            proxy=None,
        ) as socket:
            for message in socket:
                self.take(json.loads(message))

    def take(self, said: dict) -> None:
        match said.get("type"):
            case "connected":
                pass
            case "completed":
                self.end = said
            case "batch":
                self.lines += [line[3] for line in said["lines"]]
            case "log":
                self.lines.append(said["message"])
            case _:
                self.lines.append(said["line"] if "line" in said else said["message"])


def test_every_dialect_shows_the_same_lines(stack):
    stack.start_server()
    stack.start_agent()
    stack.script("talk", numbered(LINES, 0.01) + "echo '[7/7] done' >&2\n")
    task_id = stack.install("talk")
    watchers = {name: Watcher(stack, task_id, name) for name in WAYS}
    for watcher in watchers.values():
        watcher.start()
    done = stack.until(task_id, "success")
    for watcher in watchers.values():
        watcher.join(30)

    assert done["status"] == "success"
    stored = stack.raw(task_id).decode().split("\n")[:-1]
    assert len(stored) == LINES + 1 + 2, "the script's lines and two markers"
    for name, watcher in watchers.items():
        assert watcher.end is not None, name
        assert watcher.end["status"] == "success", name
        assert watcher.lines == stored, name
