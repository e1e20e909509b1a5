"""The ways live output can travel: WebSocket, server-sent events, plain chunked text."""

import codecs
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import httpx2
import msgspec
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect

from sluice.base.clock import Clock, rfc3339
from sluice.base.errors import SluiceError
from sluice.client.errors import ApiError, UnreachableError, error_of
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.tasks import TERMINAL, Task
from sluice.wire.stream import Batch, Completed, Frame, decode_frame

# one line of 10 MB in JSON, every byte escaped
MAX_FRAME = 128 * 1024 * 1024
FIRST_FRAME_SECONDS = 15.0
# the server is never silent for longer: pings, SSE comments
SILENCE_SECONDS = 75.0
_TRANSIENT = frozenset({500, 502, 503, 504})


class LostError(Exception):
    """The connection ended before the log did; another one goes on from the last line."""


class BlockedError(Exception):
    """This way does not get through (a proxy, an old server); another one may."""


class Carrier(Protocol):
    """One way of following a task's output from a line on."""

    @property
    def name(self) -> str:
        """How messages call this way."""
        ...

    def frames(self, task_id: str, after: int | None) -> Iterator[Frame]:
        """Frames from the line after ``after`` (None: the last 1000) to `Completed`.

        Raises:
            LostError: the connection ended early.
            BlockedError: this way does not work here.
            SluiceError: the server refuses, whatever the way.
        """
        ...


class WebSocketCarrier:
    """The normal way: one WebSocket, one frame for all lines that are ready."""

    name = "WebSocket"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def frames(self, task_id: str, after: int | None) -> Iterator[Frame]:
        """As `Carrier.frames`."""
        with self._opened(task_id, after) as socket:
            timeout: float | None = FIRST_FRAME_SECONDS
            while True:
                try:
                    text = socket.recv(timeout)
                except TimeoutError as error:
                    # upgraded, and then nothing: a proxy that only pretends
                    raise BlockedError("no frame came") from error
                except ConnectionClosed as error:
                    raise LostError(str(error)) from error
                timeout = None
                frame = _decoded(text)
                yield frame
                if isinstance(frame, Completed):
                    return

    @contextmanager
    def _opened(self, task_id: str, after: int | None) -> Iterator[ClientConnection]:
        query = "?format=batch" + (f"&after={after}" if after is not None else "")
        url = "ws" + self._transport.url.removeprefix("http")
        path = api_path("tasks", task_id, "output", "stream")
        with ExitStack() as stack:
            try:
                socket = stack.enter_context(
                    connect(
                        f"{url}{path}{query}",
                        additional_headers=self._transport.authorization(),
                        ssl=self._transport.tls,
                        compression=None,
                        max_size=MAX_FRAME,
                        max_queue=4,
                        close_timeout=1,
                    )
                )
            except InvalidStatus as error:
                answer = error.response
                body = bytes(answer.body or b"")
                raise _refused(answer.status_code, body) from error
            except (InvalidHandshake, EOFError) as error:
                raise BlockedError(str(error)) from error
            except (OSError, WebSocketException) as error:
                raise LostError(str(error)) from error
            yield socket


class SseCarrier:
    """Server-sent events, for where a proxy lets no WebSocket through."""

    name = "server-sent events"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def frames(self, task_id: str, after: int | None) -> Iterator[Frame]:
        """As `Carrier.frames`."""
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = str(after)
        try:
            with self._transport.stream(
                api_path("tasks", task_id, "output", "sse"),
                params={"format": "batch", "after": after},
                headers=headers,
                read_timeout=SILENCE_SECONDS,
            ) as response:
                kind = response.headers.get("content-type", "")
                if not kind.startswith("text/event-stream"):
                    raise BlockedError(f"the answer is {kind}")
                source = httpx2.EventSource(response, max_event_size=MAX_FRAME)
                for event in source:
                    frame = _decoded(event.data)
                    yield frame
                    if isinstance(frame, Completed):
                        return
        except SluiceError as error:
            raise _of_http(error) from error
        raise LostError("the event stream ended")


class TextCarrier:
    """Plain text in chunks, the last resort: no times, no sources, only lines.

    The end is taken from the task's status once the server ends the text.
    """

    name = "chunked text"

    def __init__(
        self, transport: Transport, *, clock: Clock, task: Callable[[str], Task]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._task = task

    def frames(self, task_id: str, after: int | None) -> Iterator[Frame]:
        """As `Carrier.frames`; without ``after`` from the first line."""
        first = 1 if after is None else after + 1
        rest = ""
        try:
            with self._transport.stream(
                api_path("tasks", task_id, "output", "follow"),
                params={"after": first - 1},
                read_timeout=SILENCE_SECONDS,
            ) as response:
                decode = codecs.getincrementaldecoder("utf-8")("replace").decode
                for piece in response.iter_bytes():
                    *lines, rest = (rest + decode(piece)).split("\n")
                    if lines:
                        yield self._batch(first, lines)
                        first += len(lines)
            task = self._task(task_id)
        except SluiceError as error:
            raise _of_http(error) from error
        if task.status not in TERMINAL:
            raise LostError("the text ended before the task")
        rest += decode(b"", final=True)
        if rest:
            yield self._batch(first, [rest])
        yield Completed(rfc3339(task.completed_at or self._clock.now()), task.status)

    def _batch(self, first: int, lines: list[str]) -> Batch:
        now = int(self._clock.now().timestamp() * 1000)
        return Batch(
            first, first + len(lines), [(now, "stdout", "info", line) for line in lines]
        )


def _decoded(text: str | bytes) -> Frame:
    try:
        return decode_frame(text)
    except msgspec.DecodeError as error:
        raise BlockedError(f"a frame cannot be read: {error}") from error


def _refused(status: int, body: bytes) -> Exception:
    error = error_of(status, body, what="the live output")
    if isinstance(error, ApiError):
        return BlockedError(f"the upgrade was answered with {status}")
    return LostError(error.detail) if status in _TRANSIENT else error


def _of_http(error: SluiceError) -> Exception:
    match error:
        case UnreachableError():
            return LostError(error.detail)
        case ApiError():
            # not the server's words: something between does not know this way
            return BlockedError(error.detail)
        case _ if error.status in _TRANSIENT:
            return LostError(error.detail)
        case _:
            return error
