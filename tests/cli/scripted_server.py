"""A loopback server with one workspace and one task that does what a test says, when it says so."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sluice.wire.stream import Batch, Completed, Connected, StageMarker, encode_frame
from tests.client.log_standins import AT, TASK, task

WORKSPACE = "ws-1111111111111111"
ORGANIZATION = {"id": "org-1", "name": "default", "created_at": AT}
Level = Literal["info", "warn", "error"]


class ScriptedServer:
    """The task's log and facts; every method may be called from the test's thread."""

    def __init__(self) -> None:
        self.url = ""
        self.workspaces: list[dict[str, Any]] = []
        self.task: dict[str, Any] = task(status="pending", reason="1st in the queue")
        self.created: dict[str, Any] | None = None
        self.uploaded = b""
        self.calls: list[tuple[str, str, Any]] = []
        self.opened: list[int] = []
        self.changes: list[dict[str, Any]] = []
        self.late: dict[str, bytes] = {}
        self.websockets = True
        self._frames: list[tuple[int, bytes]] = []
        self._line = 0
        self._cut = 0
        self.over = False

    # --- what a test says ---

    def say(self, *lines: str, source: str = "stdout", level: Level = "info") -> None:
        """Lines of output, in one batch."""
        first = self._line + 1
        self._line += len(lines)
        rows = [(0, source, str(level), line) for line in lines]
        self._add(encode_frame(Batch(first, self._line + 1, rows)))

    def has_workspace(self, name: str) -> None:
        """A workspace is there already."""
        self.workspaces.append(_workspace(name))

    def stage(self, name: str, status: Literal["begin", "end"]) -> None:
        """A stage marker."""
        self._line += 1
        text = f"========== {name.upper()} {status.upper()} at {AT} =========="
        self._add(encode_frame(StageMarker(text, AT, self._line, name, status)))

    def is_now(self, status: str, **facts: object) -> None:
        """The task's status changes."""
        self.task = {**self.task, "status": status, "reason": "", **facts}

    def end(self, status: str = "success", **facts: object) -> None:
        """The task and its log end."""
        self.is_now(status, **facts)
        self._add(encode_frame(Completed(AT, status)))
        self.over = True

    def cut(self) -> None:
        """Break all connections of the log."""
        self._cut += 1

    def wait_for_call(self, path: str, seconds: float = 10) -> Any:
        """The body of the first call whose path ends like this."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _, called, body in self.calls:
                if called.endswith(path):
                    return body
            time.sleep(0.02)
        raise AssertionError(f"nobody called {path}; calls: {self.calls}")

    def _add(self, frame: bytes) -> None:
        self._frames.append((self._line, frame))

    # --- what it answers ---

    async def read(self, request: Request) -> Response:
        """All reads."""
        path = request.url.path.removeprefix("/api/v1")
        if path == f"/tasks/{TASK}/logs/download":
            return Response(b"line\n" * self._line + b"begun")
        workspace = self.workspaces[0] if self.workspaces else {}
        known: dict[str, Any] = {
            "/readyz": {},
            "/auth/me": {"id": "u", "name": "ann", "kind": "user", "admin": True},
            "/organizations": [ORGANIZATION],
            "/organizations/org-1/workspaces": {
                "workspaces": self.workspaces,
                "total": len(self.workspaces),
                "limit": 100,
                "offset": 0,
            },
            f"/workspaces/{WORKSPACE}": workspace,
            f"/tasks/{TASK}": self.task,
            f"/workspaces/{WORKSPACE}/tasks/{TASK}/resource-changes": {
                "resource_changes": self.changes,
                "summary": self.task["summary"] or {},
            },
        }
        late = f"/tasks/{TASK}/late-output"
        known[late] = [
            {
                "lease_id": lease_id,
                "agent_id": "agent-1",
                "agent_name": "builder",
                "received_at": AT,
                "bytes": len(content),
                "lines": content.count(b"\n"),
            }
            for lease_id, content in self.late.items()
        ]
        if path.startswith(f"{late}/"):
            return Response(self.late[path.removeprefix(f"{late}/")])
        if path not in known:
            detail = f"There is nothing at {path}."
            return JSONResponse({"code": "not_found", "detail": detail}, 404)
        return JSONResponse(known[path])

    async def act(self, request: Request) -> Response:
        """All writes."""
        content = await request.body()
        path = request.url.path.removeprefix("/api/v1")
        if path.endswith("/upload"):
            self.uploaded = content
            return JSONResponse(_configuration("uploaded"))
        body: Any = json.loads(content) if content else None
        self.calls.append((request.method, path, body))
        match path.rsplit("/", 1)[-1]:
            case "workspaces":
                self.workspaces.append(_workspace(body["name"]))
                return JSONResponse(self.workspaces[-1], 201)
            case "configuration-versions":
                return JSONResponse(_configuration("pending"), 201)
            case "tasks":
                self.created = body
                self.task = {**self.task, "task_type": body["task_type"]}
                return JSONResponse(self.task, 201)
            case _:
                return JSONResponse(self.task)

    async def follow(self, socket: WebSocket) -> None:
        """The live stream."""
        if not self.websockets:
            await socket.send_denial_response(Response("no upgrades here", 400))
            return
        after = int(socket.query_params.get("after", "0"))
        self.opened.append(after)
        await socket.accept()
        try:
            async for frame in self._after(after):
                await socket.send_text(frame.decode())
            await socket.close(1000 if self.over else 1012)
        except WebSocketDisconnect:
            return

    async def events(self, request: Request) -> Response:
        """The live stream as server-sent events."""

        async def body() -> AsyncIterator[bytes]:
            async for frame in self._after(int(request.query_params["after"])):
                yield b"data: " + frame + b"\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    async def _after(self, after: int) -> AsyncIterator[bytes]:
        yield encode_frame(Connected(TASK, "client", AT))
        at, cut = 0, self._cut
        while cut == self._cut:
            if at < len(self._frames):
                line, frame = self._frames[at]
                at += 1
                if line > after or b'"completed"' in frame:
                    yield frame
            elif self.over:
                return
            else:
                await asyncio.sleep(0.01)


def _workspace(name: str, **changes: object) -> dict[str, Any]:
    return {
        "id": WORKSPACE,
        "organization_id": "org-1",
        "name": name,
        "execution_mode": "plan_and_apply",
        "auto_apply": False,
        "working_directory": "",
        "terraform_version": "latest",
        "engine": "terraform",
        "pool_id": None,
        "lock": None,
        "state_diverged": None,
        "created_at": AT,
        **changes,
    }


def _configuration(status: str) -> dict[str, Any]:
    return {
        "id": "cv-1",
        "workspace_id": WORKSPACE,
        "status": status,
        "error": "",
        "size_bytes": None,
        "sha256": None,
        "upload_url": "/api/v1/configuration-versions/cv-1/upload",
        "created_at": AT,
    }


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A scripted server on a free port, in a thread."""
    script = ScriptedServer()
    stream = "/api/v1/tasks/{task}/output"
    app = Starlette(
        routes=[
            WebSocketRoute(f"{stream}/stream", script.follow),
            Route(f"{stream}/sse", script.events),
            Route("/{path:path}", script.read, methods=["GET"]),
            Route("/{path:path}", script.act, methods=["POST", "PUT"]),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    script.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield script
    finally:
        script.cut()
        server.should_exit = True
        thread.join()
        listener.close()
