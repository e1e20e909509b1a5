"""Loopback servers that send a task's output and break off at random lines."""

import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from sluice.wire.stream import Batch, Completed, Connected, StageMarker, encode_frame

AT = "2026-11-21T10:00:00.000Z"
TASK = "task-1111111111111111"


@dataclass
class Log:
    """Lines 1 to ``total``; every tenth is a stage marker."""

    total: int
    rng: random.Random
    cuts: int = 12
    overlap: bool = False
    gaps: bool = False
    opened: list[int | None] = field(default_factory=list)
    status: str = "success"

    def text(self, number: int) -> str:
        return f"line {number}"

    def frames(self, after: int) -> Iterator[bytes]:
        """Frames after ``after``, cut into batches of random sizes."""
        yield encode_frame(Connected(TASK, "client", AT))
        at = after + 1
        if self.overlap:
            at = max(1, at - self.rng.randint(0, 3))
        if self.gaps and self.rng.random() < 0.3:
            at += 2
        while at <= self.total:
            if at % 10 == 0:
                status: Literal["begin", "end"] = "begin" if at % 20 else "end"
                yield encode_frame(
                    StageMarker(self.text(at), AT, at, "planning", status)
                )
                at += 1
                continue
            last = min(at + self.rng.randint(0, 8), self.total, at // 10 * 10 + 9)
            numbers = range(at, last + 1)
            lines = [(0, "stdout", "info", self.text(number)) for number in numbers]
            yield encode_frame(Batch(at, last + 1, lines))
            at = last + 1
        yield encode_frame(Completed(AT, self.status))

    def breaks(self) -> bool:
        """Whether to break off here."""
        if self.cuts <= 0 or self.rng.random() > 0.15:
            return False
        self.cuts -= 1
        return True


def abort(connection: socket.socket) -> None:
    """Reset a connection: no closing handshake, what is in flight may be lost."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def websocket_log(log: Log) -> Iterator[str]:
    """The URL of a server that sends ``log`` over WebSockets."""

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        assert query["format"] == ["batch"]
        after = int(query["after"][0]) if "after" in query else None
        log.opened.append(after)
        try:
            for frame in log.frames(after or 0):
                if log.breaks():
                    if log.rng.random() < 0.5:
                        abort(connection.socket)
                    else:
                        connection.close(1012)
                    return
                connection.send(frame, text=True)
        except ConnectionClosed:
            return

    with serving(handle) as url:
        yield url


@contextmanager
def serving(handle: Any, process_request: Any = None) -> Iterator[str]:
    """The URL of a WebSocket server."""
    with serve(handle, "127.0.0.1", 0, process_request=process_request) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def problem(status: int, code: str, detail: str) -> Response:
    """A problem document instead of an upgrade."""
    body = json.dumps({"code": code, "status": status, "detail": detail}).encode()
    headers = Headers({"Content-Type": "application/problem+json"})
    headers["Content-Length"] = str(len(body))
    return Response(status, "Refused", headers, body)


@contextmanager
def refusing(response: Response) -> Iterator[str]:
    """The URL of a server that answers each upgrade with ``response``."""

    def refuse(connection: ServerConnection, request: Request) -> Response:
        return response

    with serving(lambda connection: None, refuse) as url:
        yield url


class HttpHandler(BaseHTTPRequestHandler):
    """A proxy that knows no WebSockets, with a log behind it: as SSE, or only as text."""

    protocol_version = "HTTP/1.1"
    log: Log
    sse: bool

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        """Answer a GET."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if self.headers.get("upgrade"):
            self._plain(400, "text/html", b"<h1>Bad request</h1>")
        elif parts.path.endswith("/output/sse") and self.sse:
            self._events(int(self.headers.get("last-event-id", "0")))
        elif parts.path.endswith("/output/follow"):
            self._text(int(query["after"][0]))
        elif parts.path == f"/api/v1/tasks/{TASK}":
            self._plain(200, "application/json", json.dumps(task()).encode())
        else:
            self._plain(404, "text/html", b"<h1>Not here</h1>")

    def _plain(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunked(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _events(self, after: int) -> None:
        self.log.opened.append(after)
        self._chunked("text/event-stream")
        for frame in self.log.frames(after):
            if self.log.breaks():
                self._half(b"data: " + frame)
                return
            self._chunk(b": comment\n\ndata: " + frame + b"\n\n")
        self._chunk(b"")

    def _text(self, after: int) -> None:
        self.log.opened.append(after)
        self._chunked("text/plain; charset=utf-8")
        for number in range(after + 1, self.log.total + 1):
            line = self.log.text(number).encode()
            if self.log.breaks():
                self._half(line)
                return
            # the last line has no newline
            self._chunk(line + (b"\n" if number < self.log.total else b""))
        self._chunk(b"")

    def _half(self, data: bytes) -> None:
        self._chunk(data[: len(data) // 2])
        self.close_connection = True
        abort(self.connection)


@contextmanager
def plain_http_log(log: Log, *, sse: bool) -> Iterator[str]:
    """The URL of a server whose ``log`` comes through by plain HTTP alone."""
    handler = type("Handler", (HttpHandler,), {"log": log, "sse": sse})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def task(**changes: object) -> dict[str, object]:
    """A task as the API shows it."""
    return {
        "id": TASK,
        "workspace_id": "ws-1111111111111111",
        "organization_id": "org-1111111111111111",
        "task_type": "plan",
        "status": "success",
        "stage": None,
        "reason": "",
        "error": "",
        "message": "",
        "options": {},
        "auto_apply": False,
        "configuration_version_id": None,
        "plan_task_id": None,
        "created_by": "ann",
        "created_at": AT,
        "started_at": AT,
        "completed_at": AT,
        "duration": 1.5,
        "agent_id": None,
        "agent_name": None,
        "has_changes": True,
        "summary": None,
        "stages": [],
        "stage_timings": {},
        "actions": [],
        "can_confirm": False,
        "can_discard": False,
        "can_cancel": False,
        "can_force_cancel": False,
        **changes,
    }
