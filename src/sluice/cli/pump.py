"""Reads from the server in threads of their own, so that the terminal is always listened to."""

import queue
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from sluice.base.errors import SluiceError
from sluice.client.api import Api
from sluice.client.stream import Follower, Link
from sluice.wire.shapes.tasks import Task
from sluice.wire.stream import Frame

_WAITING_FRAMES = 8


class FramePump:
    """Hands a follower's frames to another thread, a few at a time.

    The queue is short: a reader that pauses (a question, Ctrl-S) pauses the connection, and
    the server goes on from there later.
    """

    def __init__(self, api: Api, task_id: str, after: int | None) -> None:
        self._items: queue.Queue[Frame | Link | SluiceError] = queue.Queue(
            _WAITING_FRAMES
        )
        self._follower: Follower = api.logs.follower(
            task_id, after, on_link=self._items.put
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def take(self, timeout: float) -> Frame | Link | None:
        """The next frame or change of the connection; None where there is none in time.

        Raises:
            SluiceError: the follower ended with it.
        """
        try:
            item = self._items.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, SluiceError):
            raise item
        return item

    @property
    def last_line(self) -> int:
        """Number of the last line that came."""
        return self._follower.last_line or 0

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop reading; what is in hand is dropped."""
        self._ended.set()
        self._follower.stop()
        while not self._items.empty():
            # frees a thread that waits to put
            self._items.get_nowait()

    def _run(self) -> None:
        try:
            for frame in self._follower.frames():
                if self._ended.is_set():
                    return
                self._items.put(frame)
        except SluiceError as error:
            self._items.put(error)


class TaskPoll:
    """Looks at a task every few seconds; `latest` is what was seen last."""

    def __init__(self, api: Api, task: Task) -> None:
        self.latest = task
        self.seconds = 1.0
        # one attempt each: the next look comes soon anyway
        self._api = Api(api.url, api.transport.token, attempts=1)
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def soon(self) -> None:
        """Look now, in the other thread."""
        self._wake.set()

    def look(self) -> Task:
        """Look now, in this thread; what was seen last where the server does not answer."""
        # the follower tells whether the server is gone or refuses
        with suppress(SluiceError):
            self.latest = self._api.tasks.get(self.latest.id)
        return self.latest

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop looking."""
        self._ended.set()
        self._wake.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._wake.wait(self.seconds)
            self._wake.clear()
        self._api.close()
