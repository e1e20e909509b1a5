"""A process full of viewers: each checks every line's number and measures its age.

Hundreds of WebSockets on one epoll. A frame is parsed once in this process; for every
other viewer it is compared byte by byte with the known one, so that each viewer's every
line is checked at the cost of a comparison. A viewer that is alone in its process keeps
no known frames: its frames are compared in bulk with what must stand in them. Takes one `Spec` as a JSON line on standard
input, says `ready` on standard error, and prints a `Result` when all are done.
"""

import resource
import selectors
import socket
import sys
import time
import zlib
from array import array
from pathlib import Path

import msgspec

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.dialects import DIALECTS, NO_STAMP, Carried
from bench.histogram import Histogram
from bench.websocket import CLOSE, PING, PONG, client_frame, connect, frame_head

BUFFER = 4 * 1024 * 1024
RECEIVE = BUFFER
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
        written: how many of them a generator wrote, likewise.
        stamps: checksum of the stamps of the generator's lines, in order.
        done: how many viewers were told of the stream's end.
        gaps: how many lines or connections were not as they must be.
        errors: the first of those in words.
        latencies_ms: ages of lines at receipt, at most 10,000 values that stand for all.
        asked_at: when the first viewer began to connect, monotonic nanoseconds.
        first_at: when the first line came.
        done_at: when the last line came.
        bytes: received bytes.
        cpu: CPU seconds of this process.
    """

    lines: int
    each: list[int]
    written: list[int]
    stamps: int
    done: int
    gaps: int
    errors: list[str]
    latencies_ms: list[float]
    asked_at: int
    first_at: int
    done_at: int
    bytes: int
    cpu: float


class Viewer:
    """One connection: where it stands, and what it has not yet parsed."""

    __slots__ = (
        "done",
        "lines",
        "next_line",
        "number",
        "pending",
        "sock",
        "written",
    )

    def __init__(self, number: int, sock: socket.socket, rest: bytes) -> None:
        self.number = number
        self.sock = sock
        self.pending = rest
        self.next_line = -1
        self.lines = 0
        self.written = 0
        self.done = False

    def take(self, after: int, written: int) -> None:
        """Lines up to ``after`` have come, ``written`` of them a generator's."""
        self.lines += after - self.next_line
        self.written += written
        self.next_line = after


class Known(msgspec.Struct):
    """A frame that was parsed once: its bytes on the wire, the line after it, and how many
    of its lines a generator wrote.
    """

    wire: bytes
    after: int
    written: int


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
        # stamp of each line from that one on
        self.stamps = array("q")
        self.stamps_from = 0
        # per delivery: first line, line after the last, receipt in ns
        self.deliveries = array("q")
        self.errors: list[str] = []
        self.gaps = 0
        self.ended = 0
        self.received = 0
        self.open = 0
        self.asked_at = 0
        self.first_at = 0
        self.last_at = 0

    def connect(self) -> None:
        """Open all connections, one after the other."""
        spec = self.spec
        self.asked_at = time.monotonic_ns()
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
            count = viewer.sock.recv_into(self.view[held : held + RECEIVE])
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
                viewer.take(frame.after, frame.written)
                return at + len(frame.wire)
        return None

    def _new_frame(self, viewer: Viewer, at: int, end: int) -> int | None:
        head = frame_head(self.buffer, at, end)
        if head is None or head[2] > end:
            if head is not None and head[2] - at > BUFFER:
                self._fail(viewer, f"a frame of {head[2] - at} bytes")
            return None
        opcode, begin, stop = head
        if opcode == PING:
            payload = bytes(self.view[begin:stop])
            self._send(viewer, client_frame(PONG, payload))
        elif opcode == CLOSE:
            payload = bytes(self.view[begin:stop])
            self._fail(viewer, f"closed by the server: {payload!r}")
        elif opcode != PONG:
            carried = self._text(viewer, begin, stop)
            if carried is not None and self.spec.viewers > 1:
                self._learn(carried, bytes(self.view[at:stop]))
        return stop

    def _text(self, viewer: Viewer, begin: int, stop: int) -> Carried | None:
        try:
            carried = self.dialect.read(self.buffer, begin, stop)
            if carried is not None:
                self._take(viewer, carried)
        except ValueError as error:
            self._fail(viewer, str(error))
            return None
        if carried is None and self.dialect.ends(bytes(self.view[begin:stop])):
            self.ended += 1
            self._leave(viewer)
        return carried

    def _take(self, viewer: Viewer, carried: Carried) -> None:
        if viewer.next_line == -1:
            viewer.next_line = carried.first
        if viewer.next_line != carried.first:
            raise ValueError(f"line {carried.first} came, not that")
        self._date(carried)
        viewer.take(carried.after, carried.written)

    def _learn(self, carried: Carried, wire: bytes) -> None:
        known = Known(wire, carried.after, carried.written)
        self.known.setdefault(carried.first, []).append(known)
        self.known_bytes += len(wire)
        while self.known_bytes > KEEP_BYTES:
            oldest = self.known.pop(next(iter(self.known)))
            self.known_bytes -= sum(len(frame.wire) for frame in oldest)

    def _date(self, carried: Carried) -> None:
        """Note when each line was written; another viewer may have heard it before."""
        if not self.stamps:
            self.stamps_from = carried.first
        at = carried.first - self.stamps_from
        if not 0 <= at <= len(self.stamps):
            raise ValueError(f"line {carried.first} came, far from what others got")
        known = self.stamps[at : at + len(carried.stamps)]
        if known != carried.stamps[: len(known)]:
            raise ValueError(
                f"line {carried.first} or a later one is not as others got it"
            )
        self.stamps.extend(carried.stamps[len(known) :])

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
        stamps = array("q", [one for one in self.stamps if one != NO_STAMP])
        return Result(
            lines=sum(viewer.lines for viewer in self.viewers),
            each=sorted({viewer.lines for viewer in self.viewers}),
            written=sorted({viewer.written for viewer in self.viewers}),
            stamps=zlib.crc32(stamps),
            done=self.ended,
            gaps=self.gaps,
            errors=self.errors[:20],
            latencies_ms=self._latencies().values(10_000),
            asked_at=self.asked_at,
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
                stamp = self.stamps[line - self.stamps_from]
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
