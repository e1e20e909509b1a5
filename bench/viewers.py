"""A process full of viewers: each checks every line's number and measures its age.

Hundreds of WebSockets on one epoll. A frame is parsed once in this process; for every
other viewer it is compared byte by byte with the known one, so that each viewer's every
line is checked at the cost of a comparison. Takes one `Spec` as a JSON line on standard
input, says `ready` on standard error, and prints a `Result` when all are done.
"""

import resource
import selectors
import socket
import sys
import time
from array import array
from pathlib import Path

import msgspec

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.dialects import DIALECTS, NO_STAMP, Carried
from bench.histogram import Histogram
from bench.websocket import CLOSE, PING, PONG, client_frame, connect, frame_head

BUFFER = 4 * 1024 * 1024
SAMPLES = 16
KEEP_BYTES = 128 * 1024 * 1024


class Spec(msgspec.Struct):
    """What the parent wants.

    Attributes:
        host: address of the server.
        port: its port.
        path: path and query of the stream.
        viewers: how many.
        seconds: how long to watch at most.
        protocol: `batch` (Sluice) or `lines` (one generator's line a message).
        token: bearer token, if any.
        frozen: how many of the viewers do not read at first.
        thaw_after: seconds after which they begin to.
        first_line: number of the first line every viewer must get; -1: whatever comes first.
    """

    host: str
    port: int
    path: str
    viewers: int
    seconds: float
    protocol: str = "batch"
    token: str = ""
    frozen: int = 0
    thaw_after: float = 0.0
    first_line: int = -1


class Result(msgspec.Struct):
    """What the viewers saw.

    Attributes:
        lines: delivered lines, over all viewers.
        each: how many lines a viewer got, each figure once.
        done: how many viewers were told of the stream's end.
        gaps: how many lines or connections were not as they must be.
        errors: the first of those in words.
        latencies_ms: ages of lines at receipt, at most 10,000 values that stand for all.
        first_at: when the first line came, monotonic nanoseconds.
        done_at: when the last line came.
        bytes: received bytes.
        cpu: CPU seconds of this process.
    """

    lines: int
    each: list[int]
    done: int
    gaps: int
    errors: list[str]
    latencies_ms: list[float]
    first_at: int
    done_at: int
    bytes: int
    cpu: float


class Viewer:
    """One connection: where it stands, and what it has not yet parsed."""

    __slots__ = ("done", "lines", "next_line", "number", "pending", "sock")

    def __init__(self, number: int, sock: socket.socket, rest: bytes) -> None:
        self.number = number
        self.sock = sock
        self.pending = rest
        self.next_line = -1
        self.lines = 0
        self.done = False


class Known(msgspec.Struct):
    """A frame that was parsed once: its bytes on the wire and the line after it."""

    wire: bytes
    after: int


class Crowd:
    """All viewers of this process."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.dialect = DIALECTS[spec.protocol]()
        self.selector = selectors.DefaultSelector()
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.viewers: list[Viewer] = []
        self.known: dict[int, list[Known]] = {}
        self.known_bytes = 0
        # stamp of each line, by its number
        self.stamps = array("q")
        # per delivery: first line, line after the last, receipt in ns
        self.deliveries = array("q")
        self.errors: list[str] = []
        self.gaps = 0
        self.ended = 0
        self.received = 0
        self.open = 0
        self.first_at = 0
        self.last_at = 0

    def connect(self) -> None:
        """Open all connections, one after the other."""
        spec = self.spec
        url = f"ws://{spec.host}:{spec.port}{spec.path}"
        for number in range(spec.viewers):
            sock, rest = connect(url, token=spec.token)
            viewer = Viewer(number, sock, rest)
            viewer.next_line = spec.first_line
            self.viewers.append(viewer)
            self.open += 1
            if number >= spec.frozen:
                self._join(viewer)

    def watch(self) -> None:
        """Read until all viewers are done or the time is over."""
        begin = time.monotonic()
        over = begin + self.spec.seconds
        thaw = begin + self.spec.thaw_after if self.spec.frozen else over
        while self.open and (now := time.monotonic()) < over:
            if now >= thaw:
                thaw = over
                for viewer in self.viewers[: self.spec.frozen]:
                    self._join(viewer)
            for key, _ in self.selector.select(min(over, thaw) - now):
                self._read(key.data)

    def _join(self, viewer: Viewer) -> None:
        self.selector.register(viewer.sock, selectors.EVENT_READ, viewer)
        if viewer.pending:
            rest, viewer.pending = viewer.pending, b""
            self.buffer[: len(rest)] = rest
            self._consume(viewer, len(rest), time.monotonic_ns())

    def _read(self, viewer: Viewer) -> None:
        held = len(viewer.pending)
        if held:
            self.buffer[:held] = viewer.pending
            viewer.pending = b""
        try:
            count = viewer.sock.recv_into(self.view[held:])
        except BlockingIOError:
            viewer.pending = bytes(self.view[:held])
            return
        except OSError as error:
            self._fail(viewer, f"connection broke: {error}")
            return
        if not count:
            self._fail(viewer, "connection closed without an end")
            return
        self.received += count
        self._consume(viewer, held + count, time.monotonic_ns())

    def _consume(self, viewer: Viewer, end: int, now: int) -> None:
        lines = viewer.lines
        at = 0
        while at < end and not viewer.done:
            step = self._known_frame(viewer, at, end)
            if step is None:
                step = self._new_frame(viewer, at, end)
            if step is None:
                break
            at = step
        if at < end and not viewer.done:
            viewer.pending = bytes(self.view[at:end])
        if came := viewer.lines - lines:
            after = viewer.next_line
            self.deliveries.extend((after - came, after, now))
            self.first_at = self.first_at or now
            self.last_at = now

    def _known_frame(self, viewer: Viewer, at: int, end: int) -> int | None:
        for frame in self.known.get(viewer.next_line, ()):
            if self.buffer.startswith(frame.wire, at, end):
                viewer.lines += frame.after - viewer.next_line
                viewer.next_line = frame.after
                return at + len(frame.wire)
        return None

    def _new_frame(self, viewer: Viewer, at: int, end: int) -> int | None:
        head = frame_head(self.buffer, at, end)
        if head is None or head[2] > end:
            if head is not None and head[2] - at > BUFFER:
                self._fail(viewer, f"a frame of {head[2] - at} bytes")
            return None
        opcode, begin, stop = head
        payload = bytes(self.view[begin:stop])
        if opcode == PING:
            self._send(viewer, client_frame(PONG, payload))
        elif opcode == CLOSE:
            self._fail(viewer, f"closed by the server: {payload!r}")
        elif opcode != PONG:
            self._text(viewer, payload, bytes(self.view[at:stop]))
        return stop

    def _text(self, viewer: Viewer, payload: bytes, wire: bytes) -> None:
        try:
            carried = self.dialect.read(payload)
        except ValueError as error:
            self._fail(viewer, str(error))
            return
        if carried is None:
            if self.dialect.ends(payload):
                self.ended += 1
                self._leave(viewer)
            return
        if viewer.next_line not in (-1, carried.first):
            self._fail(viewer, f"line {carried.first} came, {viewer.next_line} is next")
            return
        viewer.next_line = carried.after
        viewer.lines += carried.after - carried.first
        self._learn(carried, wire)

    def _learn(self, carried: Carried, wire: bytes) -> None:
        self.known.setdefault(carried.first, []).append(Known(wire, carried.after))
        self.known_bytes += len(wire)
        while self.known_bytes > KEEP_BYTES:
            oldest = self.known.pop(next(iter(self.known)))
            self.known_bytes -= sum(len(frame.wire) for frame in oldest)
        if missing := carried.after - len(self.stamps):
            self.stamps.extend([NO_STAMP] * max(0, missing))
        self.stamps[carried.first : carried.after] = array("q", carried.stamps)

    def _send(self, viewer: Viewer, frame: bytes) -> None:
        try:
            viewer.sock.send(frame)
        except OSError as error:
            self._fail(viewer, f"could not be answered: {error}")

    def _fail(self, viewer: Viewer, reason: str) -> None:
        if not viewer.done:
            self.gaps += 1
            place = f"viewer {viewer.number} at line {viewer.next_line}"
            self.errors.append(f"{place}: {reason}")
            self._leave(viewer)

    def _leave(self, viewer: Viewer) -> None:
        if viewer.done:
            return
        viewer.done = True
        self.open -= 1
        if viewer.sock in self.selector.get_map():
            self.selector.unregister(viewer.sock)
        viewer.sock.close()

    def result(self) -> Result:
        """What was seen, added up."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Result(
            lines=sum(viewer.lines for viewer in self.viewers),
            each=sorted({viewer.lines for viewer in self.viewers}),
            done=self.ended,
            gaps=self.gaps,
            errors=self.errors[:20],
            latencies_ms=self._latencies().values(10_000),
            first_at=self.first_at,
            done_at=self.last_at,
            bytes=self.received,
            cpu=usage.ru_utime + usage.ru_stime,
        )

    def _latencies(self) -> Histogram:
        """Ages at receipt; of a delivery of many lines, evenly spaced ones stand for all."""
        histogram = Histogram()
        numbers = self.deliveries
        for at in range(0, len(numbers), 3):
            first, after, now = numbers[at], numbers[at + 1], numbers[at + 2]
            stride = max(1, (after - first) // SAMPLES)
            for line in range(first, after, stride):
                stamp = self.stamps[line]
                if stamp != NO_STAMP:
                    histogram.add((now - stamp) / 1e9, min(stride, after - line))
        return histogram


def main() -> None:
    """Read the spec, connect, say ready, watch, print the result."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(msgspec.json.decode(sys.stdin.readline(), type=Spec))
    crowd.connect()
    print("ready", file=sys.stderr, flush=True)
    crowd.watch()
    print(msgspec.json.encode(crowd.result()).decode(), flush=True)


if __name__ == "__main__":
    main()
