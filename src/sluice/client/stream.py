"""Follows a task's output: reconnects by itself, goes on at the right line, each line exactly once."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import RateLimitedError
from sluice.client.carriers import (
    BlockedError,
    Carrier,
    LostError,
    SseCarrier,
    TextCarrier,
    WebSocketCarrier,
)
from sluice.client.cursor import GapError, LineCursor
from sluice.client.errors import StreamBrokenError, UnreachableError
from sluice.client.transport import Transport
from sluice.wire.shapes.tasks import Task
from sluice.wire.stream import Completed, Connected, Frame, StreamError

GIVE_UP_SECONDS = 900.0
MAX_GAPS = 5
_CEILING = 8.0


def backoff(failures: int, *, chance: float) -> float:
    """Seconds to wait after so many failures in a row; ``chance`` in [0, 1) is the jitter."""
    step = min(0.1 * 2.0 ** min(failures - 1, 16), _CEILING)
    return step * (0.5 + chance / 2)


class LinkEvent(StrEnum):
    """What happened to the connection."""

    CONNECTED = "connected"
    WAITING = "waiting"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True)
class Link:
    """The connection changed: ``seconds`` until the next try, ``why`` it is needed."""

    event: LinkEvent
    carrier: str
    seconds: float = 0.0
    why: str = ""


class Follower:
    """One reader of one task's output.

    Args:
        task_id: the task.
        after: the last line the reader has; 0 for all, None for the last 1000.
        carriers: the ways to try, best first.
        on_link: told when the connection changes.
        give_up: seconds without a working connection after which it ends with an error.
    """

    def __init__(
        self,
        task_id: str,
        after: int | None,
        *,
        carriers: Sequence[Carrier],
        clock: Clock,
        on_link: Callable[[Link], None] = lambda link: None,
        give_up: float = GIVE_UP_SECONDS,
    ) -> None:
        self._task_id = task_id
        self._cursor = LineCursor(after)
        self._carriers = carriers
        self._clock = clock
        self._on_link = on_link
        self._give_up = give_up
        self._stopped = threading.Event()
        self._way = 0
        self._failures = 0
        self._gaps = 0
        self._ever_connected = False
        self._alive_at = clock.monotonic()

    @property
    def last_line(self) -> int | None:
        """Number of the last line handed out."""
        return self._cursor.last

    def stop(self) -> None:
        """End `frames` before its next frame or at its present wait; from any thread."""
        self._stopped.set()

    def frames(self) -> Iterator[Frame]:
        """Frames up to and with `Completed`, each line exactly once and in order.

        Raises:
            SluiceError: the server refuses; no reconnecting would help.
            UnreachableError: no connection for ``give_up`` seconds.
            StreamBrokenError: lines are missing, again and again at the same place.
        """
        while not self._stopped.is_set():
            why = ""
            try:
                for frame in self._connection():
                    yield frame
                    if isinstance(frame, Completed):
                        return
                why = "the stream ended early"
            except GapError as error:
                why = self._on_gap(error)
            except BlockedError as error:
                self._next_way(str(error))
                continue
            except LostError as error:
                why = str(error)
            except RateLimitedError as error:
                if not self._ever_connected:
                    raise
                why = error.detail
            self._wait(why)

    def _connection(self) -> Iterator[Frame]:
        carrier = self._carriers[self._way]
        for frame in carrier.frames(self._task_id, self._cursor.last):
            if self._stopped.is_set():
                return
            if isinstance(frame, StreamError):
                raise LostError(frame.detail)
            self._alive_at = self._clock.monotonic()
            self._ever_connected = True
            if isinstance(frame, Connected):
                self._on_link(Link(LinkEvent.CONNECTED, carrier.name))
            new = self._cursor.new_in(frame)
            if new is not None:
                yield new
                self._progressed(frame)

    def _progressed(self, frame: Frame) -> None:
        if not isinstance(frame, Connected):
            self._failures = self._gaps = 0

    def _on_gap(self, gap: GapError) -> str:
        self._gaps += 1
        if self._gaps >= MAX_GAPS:
            raise StreamBrokenError(
                f"Line {gap.expected} of {self._task_id} does not arrive (line {gap.got} comes "
                f"instead, {self._gaps} times); read the stored log with `sluice logs`."
            ) from gap
        return f"line {gap.expected} is missing"

    def _next_way(self, why: str) -> None:
        self._way = (self._way + 1) % len(self._carriers)
        if self._way == 0:
            # all ways are blocked: begin again, slowly
            self._wait(why)
            return
        name = self._carriers[self._way].name
        self._on_link(Link(LinkEvent.SWITCHED, name, why=why))

    def _wait(self, why: str) -> None:
        self._failures += 1
        silent = self._clock.monotonic() - self._alive_at
        if silent > self._give_up:
            raise UnreachableError(
                f"No live output of {self._task_id} for {int(silent)} s ({why}); "
                f"the task goes on on the server: sluice logs -f {self._task_id}"
            )
        # jitter, not secrecy
        seconds = backoff(self._failures, chance=random.random())  # noqa: S311
        name = self._carriers[self._way].name
        self._on_link(Link(LinkEvent.WAITING, name, seconds, why))
        self._stopped.wait(seconds)


def open_follower(
    transport: Transport,
    task_id: str,
    after: int | None,
    *,
    task: Callable[[str], Task],
    on_link: Callable[[Link], None] = lambda link: None,
) -> Follower:
    """A follower over WebSocket, falling back to server-sent events and to text."""
    clock = SystemClock()
    return Follower(
        task_id,
        after,
        carriers=[
            WebSocketCarrier(transport),
            SseCarrier(transport),
            TextCarrier(transport, clock=clock, task=task),
        ],
        clock=clock,
        on_link=on_link,
    )
