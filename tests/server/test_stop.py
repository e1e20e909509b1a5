"""A server process that is asked to stop lets its followers go at once."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from typing_extensions import override
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.e2e.stack import Stack

# far longer than the test waits: whoever holds the stop until then is found out
SHUTDOWN_SECONDS = "600"
WAIT_SECONDS = 60.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(
        tmp_path,
        SLUICE_SHUTDOWN_SECONDS=SHUTDOWN_SECONDS,
        SLUICE_LOG_LEVEL="debug",
    )
    made.start_server()
    yield made
    made.close()


def waiting_task(stack: Stack) -> str:
    """A task that no agent takes: its log is open and says nothing."""
    workspace = stack.workspace("net")["id"]
    stack.upload(workspace, {"main.tf": ""})
    return str(stack.task(workspace, "plan")["id"])


class Follower(threading.Thread):
    """Reads one answer to its end, in a thread."""

    def __init__(self, stack: Stack, path: str) -> None:
        super().__init__(daemon=True)
        self.began = threading.Event()
        self.text = ""
        self.error: httpx2.HTTPError | None = None
        self._url = stack.url + path
        self._headers = stack.headers

    @override
    def run(self) -> None:
        try:
            with httpx2.stream(
                "GET", self._url, headers=self._headers, timeout=WAIT_SECONDS
            ) as answer:
                assert answer.status_code == 200
                self.began.set()
                for piece in answer.iter_text():
                    self.text += piece
        except httpx2.HTTPError as error:
            self.error = error


def until_followed(stack: Stack, count: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        streams = stack.get("/terraform/streams/stats")["streams"]
        if sum(stream["clients_count"] for stream in streams) == count:
            return
        assert time.monotonic() < deadline, streams
        time.sleep(0.05)


def test_followers_do_not_hold_up_a_stop(stack: Stack) -> None:
    task_id = waiting_task(stack)
    output = f"/api/v1/tasks/{task_id}/output"
    events = Follower(stack, f"{output}/sse?after=0")
    text = Follower(stack, f"{output}/follow?after=0")
    for follower in (events, text):
        follower.start()
        assert follower.began.wait(WAIT_SECONDS)
    with connect(
        stack.url.replace("http", "ws", 1) + f"{output}/stream?after=0",
        subprotocols=["sluice.v1", f"bearer.{stack.token}"],  # type: ignore[list-item]
        proxy=None,
    ) as socket:
        assert socket.subprotocol == "sluice.v1"
        assert json.loads(socket.recv())["type"] == "connected"
        until_followed(stack, 3)
        assert stack.server is not None
        stack.server.child.terminate()
        assert stack.server.child.wait(WAIT_SECONDS) == 0, stack.server.text
        with pytest.raises(ConnectionClosedError):
            socket.recv()
        assert socket.close_code == 1012
    for follower in (events, text):
        follower.join(WAIT_SECONDS)
        assert not follower.is_alive()
    # an end without `completed` says: go on elsewhere, from the last line
    assert '"connected"' in events.text
    assert '"completed"' not in events.text
    assert events.error is None
    # plain text cannot say so, and must not look whole
    assert text.error is not None
    log = stack.server.text
    assert "Traceback" not in log
    assert stack.token not in log
