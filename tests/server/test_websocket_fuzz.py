"""Every WebSocket route under broken handshakes, frames and messages: it refuses and goes on."""

import asyncio
import logging
import resource
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import WebSocketRoute
from structlog.testing import capture_logs
from typing_extensions import override

from sluice.base.ids import TaskId
from sluice.edge.websocket import MAX_FRAGMENTS
from sluice.logs.incoming import join_upload
from sluice.server.http import WS_MAX_BYTES
from sluice.wire.chunk import (
    HEADER_SIZE,
    Chunk,
    Kind,
    Source,
    encode_chunk,
    event_chunk,
    placed,
)
from sluice.wire.events import End, Note
from tests.scripts.site import Run, Site, open_site
from tests.server.raw_socket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Handshake,
    asked,
    frame,
    upgraded,
    wire,
)

KNOWN_PATHS = {
    "/ws/agent/logs",
    "/api/v1/tasks/{task_id}/output/stream",
    "/v1/log/ws",
    "/ws/logs",
    "/ws/tasks/{task_id}",
}
MEMORY_KIB = 200 * 1024
MANY_PINGS = 20_000


@dataclass
class Target:
    """A server with a running task, and every way to open a WebSocket at it."""

    site: Site
    run: Run
    routes: list[Handshake]
    health: httpx2.AsyncClient
    cases: int = 0
    bad: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.site.serving.port

    @property
    def upload(self) -> Handshake:
        return self.routes[0]

    async def serves(self, case: object) -> None:
        """The server is as it was before this case."""
        self.cases += 1
        answer = await self.health.get("/healthz")
        assert answer.status_code == 200, case

    async def refuses(self, handshake: Handshake, case: object, *statuses: int) -> None:
        """The handshake gets an answer of the client's fault, or one of ``statuses``."""
        got = await asked(self.port, handshake)
        assert got in statuses if statuses else 400 <= got < 500, (case, got)
        await self.serves(case)


def share(at: int) -> int:
    """Every how many cases are tried at a route.

    The last routes are served by the same code as the second: there a part is enough.
    """
    return 1 if at < 2 else 4


class Tracebacks(logging.Handler):
    """What the libraries complain of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@pytest.fixture(autouse=True)
def no_complaints() -> Iterator[None]:
    """Neither a traceback nor an error is logged in any test here."""
    handler = Tracebacks()
    for name in ("", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addHandler(handler)
    with capture_logs() as said:
        try:
            yield
        finally:
            for name in ("", "uvicorn.error", "asyncio"):
                logging.getLogger(name).removeHandler(handler)
    loud = [entry for entry in said if entry["log_level"] in {"error", "critical"}]
    assert loud == []
    assert handler.found == []


@pytest.fixture(scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """One server for all: none of the cases may harm it."""
    async with aimed(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@asynccontextmanager
async def aimed(directory: Path) -> AsyncIterator[Target]:
    unlimited = {
        "stream_viewers_per_task": 100_000,
        "log_max_clients_per_task": 100_000,
        "streams_per_user": 100_000,
        "streams_per_minute_per_address": 1_000_000,
        "failed_credentials_per_minute_per_address": 0,
        "requests_per_minute_per_address": 0,
        "requests_per_minute_per_credential": 0,
        "requests_per_minute_per_organization": 0,
    }
    async with open_site(directory / "data", **unlimited) as site:
        await site.script("hello")
        run = await site.running("hello")
        await run.write("one\ntwo\n")
        admin = site.admin.headers["authorization"].removeprefix("Bearer ")
        here = run.task_id
        routes = [
            Handshake(
                f"/ws/agent/logs?task_id={here}&lease_id={run.order.lease_id}",
                run.order.task_token,
            ),
            Handshake(f"/api/v1/tasks/{here}/output/stream", admin),
            Handshake(f"/v1/log/ws?task_id={here}", admin),
            Handshake(f"/ws/logs?task_id={here}", admin),
            Handshake(f"/ws/tasks/{here}", admin),
        ]
        async with httpx2.AsyncClient(base_url=site.url, trust_env=False) as health:
            yield Target(site, run, routes, health)


async def test_every_websocket_route_is_fuzzed_here(target: Target) -> None:
    app: Any = target.site.serving.http.config.app
    found = {r.path for r in app.router.routes if isinstance(r, WebSocketRoute)}
    assert found == KNOWN_PATHS
    for handshake in target.routes:
        assert await asked(target.port, handshake) == 101


# --- handshakes ---------------------------------------------------------------

BROKEN_HEADERS: list[dict[str, str | None]] = [
    {"Sec-WebSocket-Version": "0"},
    {"Sec-WebSocket-Version": "8"},
    {"Sec-WebSocket-Version": "12"},
    {"Sec-WebSocket-Version": "14"},
    {"Sec-WebSocket-Version": "x"},
    {"Sec-WebSocket-Version": "-1"},
    {"Sec-WebSocket-Version": None},
    {"Sec-WebSocket-Key": None},
    {"Sec-WebSocket-Key": "short"},
    {"Sec-WebSocket-Key": "!" * 24},
    {"Sec-WebSocket-Key": "A" * 5000},
    {"Authorization": None},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer \x01\x02"},
    {"Authorization": "Bearer " + "x" * 4000},
    {"Authorization": "Basic !!!!"},
    {"Authorization": "Digest x=y"},
    {"Sec-WebSocket-Protocol": "bearer.x", "Authorization": None},
    {"Sec-WebSocket-Protocol": "sluice.v1, bearer.", "Authorization": None},
    {"Sec-WebSocket-Protocol": "sluice.v1, bearer.a.b.c", "Authorization": None},
]
# what is no upgrade at all, is one in other words, or asks for what need not be given
ODD: list[Handshake] = [
    Handshake("", headers={"Upgrade": "h2c"}),
    Handshake("", headers={"Upgrade": None}),
    Handshake("", headers={"Connection": "close"}),
    Handshake("", headers={"Connection": None}),
    Handshake("", method="POST"),
    Handshake("", method="CONNECT"),
    Handshake("", version="HTTP/1.0"),
    Handshake("", headers={"Sec-WebSocket-Extensions": ";;;=,"}),
    Handshake("", headers={"Sec-WebSocket-Extensions": "permessage-deflate; x=" * 9}),
    Handshake("", headers={"Sec-WebSocket-Protocol": ",,,"}),
    Handshake("", headers={"Host": None}),
    Handshake("", headers={"Host": "a b"}),
    Handshake("", more=("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")),
    Handshake("", more=("X: " + "y" * 20_000,)),
    Handshake("", more=tuple(f"X-{number}: y" for number in range(300))),
    Handshake("", more=("no colon",)),
]
# these announce a body that does not come
UNFINISHED: list[dict[str, str | None]] = [
    {"Content-Length": "5"},
    {"Content-Length": "5", "Upgrade": None},
    {"Transfer-Encoding": "chunked"},
    {"Transfer-Encoding": "chunked", "Upgrade": None},
]


async def test_broken_handshakes(target: Target) -> None:
    for at, route in enumerate(target.routes):
        for headers in BROKEN_HEADERS[:: share(at)]:
            await target.refuses(
                Handshake(route.path, route.token, headers), (route.path, headers)
            )
    for at, route in enumerate(target.routes):
        for odd in ODD[:: share(at)]:
            handshake = Handshake(
                route.path, route.token, odd.headers, odd.method, odd.version, odd.more
            )
            got = await asked(target.port, handshake)
            assert got < 500, (route.path, odd, got)
            await target.serves((route.path, odd))
        for unfinished in UNFINISHED:
            async with wire(target.port) as line:
                handshake = Handshake(route.path, route.token, unfinished)
                await line.send(handshake.encode(target.port))
                await target.serves((route.path, unfinished))


async def test_handshakes_that_are_no_http(target: Target) -> None:
    whole = target.upload.encode(target.port)
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\0" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 1000,
        b"GET /ws/logs\r\n\r\n",
        b"GET /ws/\xff\xfe%zz%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        whole[: len(whole) // 2],
        whole[:-2],
        whole.replace(b"\r\n", b"\n"),
        frame(TEXT, b"no handshake at all"),
    ):
        async with wire(target.port) as line:
            await line.send(data)
            await target.serves(data[:30])


ORIGINS = [
    "null",
    "file://",
    "https://panel.example.com.evil.org",
    "https://evilpanel.example.com",
    "https://panel.example.com:8443",
    "http://panel.example.com",
    "https://panel.example.com@evil.org",
    "https://user@panel.example.com.evil.org",
    "https://panel.example.com%00.evil.org",
    "https://panel.example.com\t.evil.org",
    "https://panel.example.com, https://evil.org",
    "https://evil.org, https://panel.example.com",
    "//panel.example.com",
    "panel.example.com",
    "javascript:alert(1)",
    "chrome-extension://abcdef",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost",
    "http://[::1]",
    "https://[",
    "http://127.0.0.1:99999",
    "https://xn--panel-example.com",
    " ",
    "*",
]


async def test_strange_origins(target: Target) -> None:
    port = target.port
    for at, route in enumerate(target.routes):
        for origin in ORIGINS[:: share(at)]:
            await target.refuses(
                Handshake(route.path, route.token, {"Origin": origin}),
                (route.path, origin),
            )
        good = "https://panel.example.com"
        twice = Handshake(
            route.path,
            route.token,
            {"Origin": good},
            more=("Origin: https://evil.org",),
        )
        await target.refuses(twice, "two origins")
        for origin in (good, "HTTPS://PANEL.EXAMPLE.COM", f"http://127.0.0.1:{port}"):
            fine = Handshake(route.path, route.token, {"Origin": origin})
            assert await asked(port, fine) == 101, origin


async def test_strange_addresses(target: Target) -> None:
    admin = target.routes[1].token
    for path in (
        "/ws/nothing",
        "/ws/logs",
        "/ws/logs?task_id=",
        "/ws/logs?task_id=" + "x" * 4000,
        "/ws/logs?task_id=%00",
        "/ws/logs?task_id=%ff%fe",
        "/ws/logs?task_id=../../etc/passwd",
        f"/ws/logs?task_id={target.run.task_id}&offset=-1",
        f"/ws/logs?task_id={target.run.task_id}&offset=" + "9" * 400,
        f"/ws/logs?task_id={target.run.task_id}&offset=1e3",
        f"/v1/log/ws?task_id={target.run.task_id}&after=x",
        f"/api/v1/tasks/{target.run.task_id}/output/stream?after=-5",
        f"/api/v1/tasks/{target.run.task_id}/output/stream?format=nothing",
        "/api/v1/tasks/%2e%2e/output/stream",
        "/ws/tasks/",
        "/ws/tasks/a/b",
        f"/ws/agent/logs?task_id={target.run.task_id}",
        f"/ws/agent/logs?task_id=&lease_id={target.run.order.lease_id}",
        f"/ws/agent/logs?task_id={target.run.task_id}&stream_mode=x",
    ):
        await target.refuses(Handshake(path, admin), path)


# --- frames ---------------------------------------------------------------------

PROTOCOL, NO_TEXT, TOO_BIG = 1002, 1007, 1009
BROKEN_FRAMES: list[tuple[str, bytes, set[int]]] = [
    ("not masked", frame(TEXT, b"x", masked=0), {PROTOCOL}),
    ("reserved bit 1", frame(TEXT, b"x", rsv=4), {PROTOCOL}),
    ("reserved bit 2", frame(TEXT, b"x", rsv=2), {PROTOCOL}),
    ("reserved bit 3", frame(BINARY, b"x", rsv=1), {PROTOCOL}),
    *((f"opcode {code}", frame(code, b"x"), {PROTOCOL}) for code in (3, 4, 5, 6, 7)),
    *((f"opcode {code}", frame(code), {PROTOCOL}) for code in (11, 12, 13, 14, 15)),
    ("ping in pieces", frame(PING, b"x", fin=0), {PROTOCOL}),
    ("pong in pieces", frame(PONG, b"x", fin=0), {PROTOCOL}),
    ("close in pieces", frame(CLOSE, b"", fin=0), {PROTOCOL}),
    ("long ping", frame(PING, b"x" * 126), {PROTOCOL}),
    ("long close", frame(CLOSE, b"\x03\xe8" + b"x" * 124), {PROTOCOL}),
    ("close of one byte", frame(CLOSE, b"\x03"), {PROTOCOL}),
    *(
        (f"close code {code}", frame(CLOSE, struct.pack("!H", code)), {PROTOCOL})
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    ("close in no text", frame(CLOSE, b"\x03\xe8\xff\xfe"), {PROTOCOL, NO_TEXT}),
    ("continuation first", frame(CONTINUATION, b"x"), {PROTOCOL}),
    (
        "a text inside a text",
        frame(TEXT, b"x", fin=0) + frame(TEXT, b"y"),
        {PROTOCOL},
    ),
    (
        "a huge length",
        frame(BINARY, b"", length=b"\x7f" + struct.pack("!Q", 2**62)),
        {TOO_BIG},
    ),
    (
        "a length with its highest bit",
        frame(BINARY, b"", length=b"\x7f" + struct.pack("!Q", 2**63 + 1)),
        {PROTOCOL, TOO_BIG},
    ),
    (
        "one byte too many",
        frame(BINARY, b"", length=b"\x7f" + struct.pack("!Q", WS_MAX_BYTES + 1)),
        {TOO_BIG},
    ),
    (
        "too much in pieces",
        frame(BINARY, bytes(WS_MAX_BYTES // 2), fin=0)
        + frame(CONTINUATION, bytes(WS_MAX_BYTES // 2), fin=0)
        + frame(CONTINUATION, b"x"),
        {TOO_BIG},
    ),
    (
        "too many pieces",
        frame(BINARY, b"", fin=0) + frame(CONTINUATION, b"", fin=0) * MAX_FRAGMENTS,
        {TOO_BIG},
    ),
    ("no text", frame(TEXT, b"\xff\xfe\x80"), {NO_TEXT}),
    ("half a character", frame(TEXT, b"\xe2\x82"), {NO_TEXT}),
    ("a surrogate", frame(TEXT, b"\xed\xa0\x80"), {NO_TEXT}),
    (
        "no text in pieces",
        frame(TEXT, b"\xe2", fin=0) + frame(CONTINUATION, b"\x28"),
        {NO_TEXT},
    ),
]


async def test_broken_frames(target: Target) -> None:
    for at, route in enumerate(target.routes):
        for name, data, codes in BROKEN_FRAMES[:: share(at)]:
            async with upgraded(target.port, route) as line:
                await line.send(data)
                assert await line.closed_with() in codes, (route.path, name)
            await target.serves((route.path, name))


async def test_frames_that_never_end(target: Target) -> None:
    for route in target.routes:
        for data in (
            b"\x81",
            b"\x82\xfe\x01",
            frame(BINARY, bytes(1000))[:500],
            frame(TEXT, b"x", fin=0),
            frame(PING, b"1234")[:3],
        ):
            async with upgraded(target.port, route) as line:
                await line.send(data)
                await target.serves((route.path, data[:10]))


async def test_good_closes_are_answered(target: Target) -> None:
    for route in target.routes:
        for code in (1000, 1001, 1011, 3000, 4999):
            async with upgraded(target.port, route) as line:
                await line.send(frame(CLOSE, struct.pack("!H", code)))
                assert await line.closed_with() == code
            await target.serves((route.path, code))


async def test_pings_by_the_thousand(target: Target) -> None:
    for route in target.routes:
        async with upgraded(target.port, route) as line:
            await line.send(frame(PING, b"x" * 100) * 1000)
            async with asyncio.timeout(30):
                for _ in range(1000):
                    opcode, payload = await line.next()
                    while opcode != PONG:
                        opcode, payload = await line.next()
                    assert payload == b"x" * 100
        await target.serves(route.path)


async def test_who_pings_and_does_not_read_costs_no_memory(target: Target) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pings = frame(PING, b"x" * 125) * 1000
    async with upgraded(target.port, target.routes[3]) as line:
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(MANY_PINGS // 1000):
            await line.send(pings)
            await target.serves("pings")
        connections = target.site.serving.http.server_state.connections
        waiting = [one.transport.get_write_buffer_size() for one in connections]
        assert max(waiting) < 1024 * 1024
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEMORY_KIB


SAID = [
    frame(BINARY, b"\x00\xff" * 100),
    frame(TEXT, b""),
    frame(TEXT, b"{"),
    frame(TEXT, b"[" * 100_000),
    frame(TEXT, b'{"ack": -1}'),
    frame(TEXT, b'{"ack": 1e999}'),
    frame(TEXT, b'{"ack": "x"}'),
    frame(TEXT, b'{"ack": ' + b"9" * 5000 + b"}"),
    frame(TEXT, b'{"type":"ack","line":null}'),
    frame(TEXT, b"\\ud800"),
    frame(PONG, b"unasked"),
    frame(TEXT, b"x") * 500,
]


async def test_what_viewers_say_that_means_nothing(target: Target) -> None:
    for at, route in enumerate(target.routes[1:], 1):
        for data in SAID[:: share(at)]:
            async with upgraded(target.port, route) as line:
                await line.send(data)
                await target.serves((route.path, data[:30]))


# --- uploads ----------------------------------------------------------------------


def broken_uploads(run: Run) -> list[tuple[str, bytes]]:
    """Messages that look like uploads and are none."""
    epoch, at, line = run.order.log.epoch, run.offset, run.line
    chunk = Chunk(at, line, Source.STDOUT, Kind.OUTPUT, 1_700_000_000_000_000, b"x\n")
    good = encode_chunk(chunk)

    def moved(offset: int, first_line: int) -> bytes:
        return encode_chunk(placed(chunk, offset=offset, first_line=first_line))

    def event(what: Note | End, source: Source = Source.AGENT) -> bytes:
        made = event_chunk(what, b"x\n", source=source, captured_us=1)
        return encode_chunk(placed(made, offset=at, first_line=line))

    return [
        ("nothing", b""),
        ("one byte", b"\0"),
        ("half a prefix", b"\0" * 15),
        ("wrong checksum", join_upload(epoch, at, good[:-1] + b"?")),
        ("cut short", join_upload(epoch, at, good[:-1])),
        ("noise", join_upload(epoch, at, zlib.compress(b"noise" * 99))),
        ("a gap", join_upload(epoch, at + 5, moved(at + 5, line))),
        ("a straddle", join_upload(epoch, at - 1, moved(at - 1, line))),
        ("another place than it says", join_upload(epoch, at, moved(at + 9, line))),
        ("another line", join_upload(epoch, at, moved(at, line + 7))),
        ("the highest offset", join_upload(epoch, 2**64 - 1, good)),
        ("the highest epoch", join_upload(2**64 - 1, at, good)),
        ("a later epoch", join_upload(epoch + 1, at, good)),
        ("an earlier epoch", join_upload(epoch - 1, at, good)),
        ("an end", join_upload(epoch, at, event(End(1, 1, "0" * 64, "success")))),
        ("the server's hand", join_upload(epoch, at, event(Note(), Source.SERVER))),
        ("too large", join_upload(epoch, at, b"\0" * 3 * 1024 * 1024)),
    ]


async def test_broken_uploads_are_refused_and_store_nothing(target: Target) -> None:
    logs = target.site.serving.concepts.logs.logs
    before = await logs.head(target.run.task_id)  # type: ignore[arg-type]
    for name, body in broken_uploads(target.run):
        async with upgraded(target.port, target.upload) as line:
            await line.send(frame(BINARY, body))
            await line.send(frame(CLOSE, struct.pack("!H", 1000)))
            await line.closed_with()
        await target.serves(name)
        head = await logs.head(target.run.task_id)  # type: ignore[arg-type]
        assert head == before, name
    async with upgraded(target.port, target.upload) as line:
        await line.send(frame(TEXT, b"a text"))
        assert await line.closed_with() == NO_TEXT
    # and what is right is taken as before
    await target.run.write("three\n")


async def test_uploads_with_one_byte_of_their_header_flipped(target: Target) -> None:
    """What no checksum covers (the time, flags that the server sets anew) may be taken."""
    run = target.run
    logs = target.site.serving.concepts.logs.logs
    task_id = TaskId(run.task_id)
    for place in range(HEADER_SIZE):
        before = await logs.head(task_id)
        good = encode_chunk(
            Chunk(
                before.committed,
                before.next_line,
                Source.STDOUT,
                Kind.OUTPUT,
                1,
                b"x\n",
            )
        )
        flipped = bytes([*good[:place], good[place] ^ 0x55, *good[place + 1 :]])
        body = join_upload(run.order.log.epoch, before.committed, flipped)
        async with upgraded(target.port, target.upload) as line:
            await line.send(frame(BINARY, body) + frame(CLOSE, struct.pack("!H", 1000)))
            await line.closed_with()
        await target.serves(place)
        after = await logs.head(task_id)
        assert after.committed - before.committed in {0, 2}, place
    after = await logs.head(task_id)
    run.offset, run.line = after.committed, after.next_line
    await run.write("four\n")
