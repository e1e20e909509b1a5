"""A platform on a loopback port: serves a plan, takes callbacks, and can be away."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
from typing_extensions import override

from sluice.wire.run_task import encode_payload, sign, sign_webhook

KEY = "correct horse battery"
PATIENCE = 120.0


@dataclass
class Callback:
    """One callback as it came in."""

    result_id: str
    status: str
    message: str
    outcomes: list[dict[str, Any]]
    answered: int


@dataclass
class Result:
    """One result that a service is asked for."""

    token: str
    plan: bytes = b""
    repeat: int = 1
    plan_is_at: str = ""
    refuse_plan: list[int] = field(default_factory=list)
    refuse_callbacks: list[int] = field(default_factory=list)
    final: bool = False


class FarPlatform:
    """What a service sees of the platform; stop and start it to have it away for a while."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.callbacks: list[Callback] = []
        self.plans_served = 0
        self.blob = b""
        self.blob_asked_with: list[str | None] = []
        self.seen = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        platform = self

        class Handler(_Handler):
            far = platform

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        ).start()

    def stop(self) -> None:
        """Be away."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def payload(self, result_id: str, **changes: Any) -> dict[str, Any]:
        """A call for a result; the fields are HCP's."""
        token = self.results[result_id].token
        return {
            "payload_version": 1,
            "stage": "post_plan",
            "access_token": token,
            "capabilities": {"outcomes": True},
            "organization_name": "acme",
            "plan_json_api_url": f"{self.url}/plans/{result_id}",
            "run_id": "task-1",
            "run_message": "Grüße ✓",
            "run_created_by": "ann",
            "is_speculative": False,
            "task_result_callback_url": f"{self.url}/callbacks/{result_id}",
            "task_result_enforcement_level": "mandatory",
            "task_result_id": result_id,
            "vcs_branch": None,
            "workspace_id": "ws-1",
            "workspace_name": "network",
            **changes,
        }

    def asks(self, result_id: str, plan: bytes = b"{}", **more: Any) -> dict[str, Any]:
        """A new result, and the call for it."""
        token = f"token-of-{result_id}"
        self.results[result_id] = Result(token, plan, **more)
        return self.payload(result_id)

    def of(self, result_id: str) -> list[Callback]:
        """The callbacks of one result that were taken."""
        return [
            one
            for one in self.callbacks
            if one.result_id == result_id and one.answered == 200
        ]

    def verdict(self, result_id: str) -> Callback:
        """The final callback, once it is here."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for one in self.of(result_id):
                if one.status != "running":
                    return one
            time.sleep(0.02)
        raise AssertionError(f"no verdict; there were {self.callbacks}")


class _Handler(BaseHTTPRequestHandler):
    far: FarPlatform
    protocol_version = "HTTP/1.1"

    @override
    def setup(self) -> None:
        super().setup()
        self.far.connections.add(self.connection)

    @override
    def finish(self) -> None:
        self.far.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    @override
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        if self.path == "/blob":
            self.far.blob_asked_with.append(self.headers["authorization"])
            self._answer(200, body=self.far.blob)
            return
        result = self._result("/plans/")
        if result is None:
            return
        if result.refuse_plan:
            self._answer(result.refuse_plan.pop(0))
            return
        if result.plan_is_at:
            self._answer(307, location=result.plan_is_at)
            return
        self.far.plans_served += 1
        self.send_response(200)
        self.send_header("content-length", str(len(result.plan) * result.repeat))
        self.end_headers()
        try:
            for _ in range(result.repeat):
                self.wfile.write(result.plan)
        except OSError:
            self.close_connection = True

    def do_PATCH(self) -> None:
        length = int(self.headers["content-length"])
        document = json.loads(self.rfile.read(length))
        self.far.hold.wait(PATIENCE)
        result = self._result("/callbacks/")
        if result is None:
            return
        attributes = document["data"]["attributes"]
        related = document["data"].get("relationships", {})
        answer = self._judged(result, attributes["status"])
        self.far.callbacks.append(
            Callback(
                result_id=self.path.rpartition("/")[2],
                status=attributes["status"],
                message=attributes["message"],
                outcomes=[
                    one["attributes"]
                    for one in related.get("outcomes", {}).get("data", [])
                ],
                answered=answer,
            )
        )
        self.far.seen.set()
        self._answer(answer)

    def _judged(self, result: Result, status: str) -> int:
        if status != "running" and result.refuse_callbacks:
            return result.refuse_callbacks.pop(0)
        if result.final:
            return 409
        result.final = status != "running"
        return 200

    def _result(self, prefix: str) -> Result | None:
        result = self.far.results.get(self.path.removeprefix(prefix))
        if result is None or not self.path.startswith(prefix):
            self._answer(404)
            return None
        if self.headers["authorization"] != f"Bearer {result.token}":
            self._answer(401)
            return None
        return result

    def _answer(self, status: int, *, location: str = "", body: bytes = b"{}") -> None:
        body = b"" if status == 204 else body
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


@contextmanager
def far_platform() -> Iterator[FarPlatform]:
    """A platform while the block runs."""
    platform = FarPlatform()
    platform.start()
    try:
        yield platform
    finally:
        platform.hold.set()
        platform.stop()


def send(
    url: str,
    payload: dict[str, Any],
    *,
    key: str = KEY,
    prefixed: bool = False,
    sent_at: float | None = None,
    **headers: str,
) -> httpx2.Response:
    """Call a service as the platform does; ``headers`` replace what would be sent."""
    body = encode_payload(payload)
    given = {
        "content-type": "application/json",
        "x-tfc-task-signature": sign(key, body, prefixed=prefixed),
    }
    if sent_at is not None:
        at = int(sent_at)
        given["webhook-id"] = "msg-1"
        given["webhook-timestamp"] = str(at)
        given["webhook-signature"] = sign_webhook(key, "msg-1", at, body)
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(url, content=body, headers=given, timeout=PATIENCE)
