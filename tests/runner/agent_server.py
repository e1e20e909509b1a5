"""A small server on a loopback port that speaks the agent protocol by the real rules."""

import asyncio
import contextlib
import hashlib
import io
import socket
import struct
import tarfile
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from sluice.base.clock import SystemClock, to_micros
from sluice.base.ids import new_lease_id, new_task_id
from sluice.wire.agent import (
    Command,
    Engine,
    LogPosition,
    PhaseName,
    PhaseOrder,
    PhaseResult,
    PingRequest,
    PingResponse,
    PlanOptions,
    PoolInfo,
    PullRequest,
    RegisterRequest,
    RegisterResponse,
)
from sluice.wire.chunk import Chunk, decode_chunks
from sluice.wire.log_flow import Ack, AckStatus, Head, Offer, Verdict, answer, judge

PREFIX = struct.Struct("<QQ")
POOL_TOKEN = "pool-secret"


@dataclass
class FakeLog:
    """One task's log as the receiver holds it."""

    head: Head
    chunks: list[Chunk] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    messages: int = 0
    watched: bool = False
    command: str = ""
    nudge: bool = False

    def take(self, message: bytes) -> Ack:
        epoch, offset = PREFIX.unpack_from(message)
        chunks = list(decode_chunks(message[PREFIX.size :]))
        length = sum(len(chunk.data) for chunk in chunks)
        self.messages += 1
        verdict = judge(self.head, Offer(epoch, offset, length))
        if verdict is Verdict.APPEND:
            at, line = self.head.committed, self.head.next_line
            for chunk in chunks:
                assert (chunk.offset, chunk.first_line) == (at, line)
                at, line = chunk.end, chunk.next_line
            self.chunks += chunks
            self.arrived += [time.monotonic()] * len(chunks)
            self.head = replace(self.head, committed=at, next_line=line)
        return answer(verdict, self.head, watched=self.watched, command=self.command)

    @property
    def data(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)

    def text(self) -> str:
        return self.data.decode(errors="replace")


def order_for(phase: PhaseName = PhaseName.PLAN, **changes) -> PhaseOrder:
    """A phase's order, with everything at its plainest."""
    task_id = changes.pop("task_id", None) or new_task_id()
    base = f"/api/v1/tasks/{task_id}"
    order = PhaseOrder(
        task_id=task_id,
        lease_id=new_lease_id(),
        lease_seconds=60,
        workspace_id="ws-1",
        workspace_name="hello",
        organization_id="org-1",
        action="plan_and_apply",
        phase=phase,
        engine=Engine.TERRAFORM,
        terraform_version="latest",
        working_directory="",
        configuration_url=f"{base}/configuration",
        state_url=f"{base}/state",
        plan_url=f"{base}/plan-file",
        plan_json_url=f"{base}/plan-json",
        variables=[],
        options=PlanOptions(),
        task_token=f"token-of-{task_id}",
        log=LogPosition(epoch=1, offset=0, next_line=1),
    )
    return order.model_copy(update=changes)


@dataclass
class Knobs:
    """What goes wrong, and how often."""

    refuse_websocket: int = 0
    close_early: int = 0
    close_after_messages: int = 0
    withhold_acks: bool = False
    refuse_log_with: int = 0
    finish_short: int = 0
    register_failures: int = 0
    fail_ping: int = 0
    accept_task_token: bool = True
    accept_agent_token: bool = True
    state_status: int = 200
    refuse_late_with: int = 0
    late_refusals: int = 0
    register_refusal: str = ""


class FakeServer:
    """Runs in a thread; tests look at its fields."""

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.pool = PoolInfo(
            pool_id="pool-1",
            name="default",
            max_plan_concurrency=3,
            allow_apply_concurrent=False,
        )
        self.ping_seconds = 0.2
        self.queue: list[PhaseOrder] = []
        self.orders: dict[str, PhaseOrder] = {}
        self.logs: dict[str, FakeLog] = {}
        self.results: dict[str, PhaseResult] = {}
        self.ended: dict[str, tuple[int, int]] = {}
        self.late: dict[str, bytes] = {}
        self.finish_calls = 0
        self.started: list[str] = []
        self.pings: list[PingRequest] = []
        self.pulls: list[PullRequest] = []
        self.registrations: list[RegisterRequest] = []
        self.commands: list[Command] = []
        self.agent_id = ""
        self.advice = ""
        self.nudge = False
        self.tokens: set[str] = set()
        self.configuration = archive({"main.tf": ""})
        self.files: dict[str, bytes] = {}
        self.sockets = 0
        self.port = free_port()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- running ---

    def start(self) -> None:
        config = uvicorn.Config(
            self._app(),
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            lifespan="off",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        running = self._server
        until(lambda: running.started)

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()
        self._server = None

    def give(self, order: PhaseOrder) -> PhaseOrder:
        """Queue a phase."""
        self.orders[order.lease_id] = order
        position = order.log
        head = Head(position.epoch, position.offset, position.next_line)
        self.logs.setdefault(order.task_id, FakeLog(head))
        self.queue.append(order)
        return order

    def log(self, order: PhaseOrder) -> FakeLog:
        return self.logs[order.task_id]

    def hand_over(self, order: PhaseOrder) -> None:
        """Another lease writes the log from now on."""
        log = self.log(order)
        self.ended[order.lease_id] = (
            log.head.committed,
            to_micros(SystemClock().now()),
        )
        log.head = replace(log.head, epoch=log.head.epoch + 1)

    # --- routes ---

    def _app(self) -> Starlette:
        agent = "/api/v1/agents/{agent_id}"
        task = "/api/v1/tasks/{task_id}"
        return Starlette(
            routes=[
                Route("/api/v1/agents/register", self._register, methods=["POST"]),
                Route(f"{agent}/ping", self._ping, methods=["POST"]),
                Route(f"{agent}/tasks/pull", self._pull, methods=["POST"]),
                Route(
                    f"{agent}/tasks/{{task_id}}/started", self._start, methods=["POST"]
                ),
                Route(
                    f"{agent}/tasks/{{task_id}}/finish", self._finish, methods=["POST"]
                ),
                Route(
                    f"{agent}/tasks/{{task_id}}/late-output",
                    self._late,
                    methods=["POST"],
                ),
                Route(f"{task}/log", self._patch, methods=["PATCH"]),
                Route(f"{task}/{{name}}", self._file, methods=["GET", "PUT"]),
                WebSocketRoute("/ws/agent/logs", self._socket),
            ]
        )

    async def _register(self, request):
        if self.knobs.register_failures:
            self.knobs.register_failures -= 1
            return problem(503, "unavailable")
        if request.headers["authorization"] != f"Bearer {POOL_TOKEN}":
            return problem(401, "unauthorized")
        body = RegisterRequest.model_validate_json(await request.body())
        self.registrations.append(body)
        if self.knobs.register_refusal:
            return problem(409, self.knobs.register_refusal)
        return reply(
            RegisterResponse(
                agent_id=self.agent_id or body.agent_id or "agent-1",
                token=self._new_token(),
                token_expires_at=in_an_hour(),
                pool=self.pool,
                server_time=SystemClock().now(),
                ping_seconds=self.ping_seconds,
                advice=self.advice,
            )
        )

    def _new_token(self) -> str:
        token = f"jwt-{len(self.tokens)}"
        self.tokens.add(token)
        return token

    def _is_agent(self, connection) -> bool:
        bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
        return self.knobs.accept_agent_token and bearer in self.tokens

    def _is_task(self, connection, task_id: str) -> bool:
        given = connection.headers.get("authorization", "")
        known = given == f"Bearer token-of-{task_id}"
        return (self.knobs.accept_task_token and known) or self._is_agent(connection)

    async def _ping(self, request):
        if self.knobs.fail_ping:
            self.knobs.fail_ping -= 1
            return problem(503, "unavailable")
        if not self._is_agent(request):
            return problem(401, "unauthorized")
        self.pings.append(PingRequest.model_validate_json(await request.body()))
        commands, self.commands = self.commands, []
        return reply(
            PingResponse(
                commands=commands,
                pool=self.pool,
                token=self._new_token(),
                token_expires_at=in_an_hour(),
                advice=self.advice,
            )
        )

    async def _pull(self, request):
        if not self._is_agent(request):
            return problem(401, "unauthorized")
        body = PullRequest.model_validate_json(await request.body())
        self.pulls.append(body)
        deadline = time.monotonic() + min(body.wait_seconds, 1)
        while (
            time.monotonic() < deadline
            and self._server
            and not self._server.should_exit
        ):
            if self.nudge:
                self.nudge = False
                return Response(status_code=204, headers={"Sluice-Ping": "now"})
            for order in self.queue:
                wanted = (
                    body.slots.apply
                    if order.phase is PhaseName.APPLY
                    else body.slots.plan
                )
                if wanted:
                    self.queue.remove(order)
                    return reply(order)
            await asyncio.sleep(0.01)
        return Response(status_code=204)

    async def _start(self, request):
        self.started.append(request.path_params["task_id"])
        return JSONResponse({})

    async def _finish(self, request):
        self.finish_calls += 1
        result = PhaseResult.model_validate_json(await request.body())
        order = self.orders[result.lease_id]
        log = self.log(order)
        if result.lease_id in self.results:
            return JSONResponse({})
        if log.head.epoch != order.log.epoch:
            return problem(409, "fenced")
        short = log.head.committed < result.log_end.offset
        if short or self.knobs.finish_short:
            self.knobs.finish_short = max(0, self.knobs.finish_short - 1)
            return problem(409, "conflict", committed=log.head.committed)
        phase = log.data[order.log.offset :] if order.log.offset == 0 else None
        if phase is not None and result.log_end.sha256 is not None:
            assert hashlib.sha256(phase).hexdigest() == result.log_end.sha256
        self.results[result.lease_id] = result
        return JSONResponse({})

    async def _late(self, request):
        if self.knobs.refuse_late_with:
            self.knobs.late_refusals += 1
            status = self.knobs.refuse_late_with
            return problem(status, "not_found" if status == 404 else "unavailable")
        if not self._is_agent(request):
            return problem(401, "unauthorized")
        lease_id = request.query_params["lease_id"]
        if lease_id not in self.ended:
            return problem(409, "conflict")
        begin, ended_us = self.ended[lease_id]
        kept = self.late.setdefault(lease_id, b"")
        for chunk in decode_chunks(await request.body()):
            at = begin + len(kept)
            if chunk.end <= at:
                continue
            if chunk.offset > at:
                return problem(409, "conflict", committed=at)
            if chunk.captured_us > ended_us:
                return JSONResponse({"committed": at, "open": False})
            kept = self.late[lease_id] = kept + chunk.data[at - chunk.offset :]
        return JSONResponse({"committed": begin + len(kept), "open": True})

    async def _patch(self, request):
        task_id = request.path_params["task_id"]
        if self.knobs.refuse_log_with:
            return problem(self.knobs.refuse_log_with, "")
        if not self._is_task(request, task_id):
            return problem(401, "unauthorized")
        ack = self.logs[task_id].take(await request.body())
        status = 200 if ack.status is AckStatus.OK else 409
        return Response(msgspec.json.encode(ack), status, media_type="application/json")

    async def _socket(self, socket):
        task_id = socket.query_params["task_id"]
        knobs = self.knobs
        if knobs.refuse_websocket or knobs.refuse_log_with:
            knobs.refuse_websocket = max(0, knobs.refuse_websocket - 1)
            await socket.close()
            return
        if not self._is_task(socket, task_id):
            await socket.close()
            return
        await socket.accept()
        self.sockets += 1
        log = self.logs[task_id]
        if knobs.close_early:
            knobs.close_early -= 1
            await socket.close()
            return
        with contextlib.suppress(Exception):
            await self._talk(socket, log)

    async def _talk(self, socket, log: FakeLog) -> None:
        messages = 0
        told = (log.watched, log.command)
        while True:
            try:
                async with asyncio.timeout(0.02):
                    message = await socket.receive_bytes()
            except TimeoutError:
                if log.nudge:
                    log.nudge = False
                    head = log.head
                    ack = Ack(
                        AckStatus.OK,
                        head.committed,
                        head.next_line,
                        log.watched,
                        "ping",
                    )
                    await socket.send_text(msgspec.json.encode(ack).decode())
                if told != (log.watched, log.command):
                    told = (log.watched, log.command)
                    head = log.head
                    ack = Ack(AckStatus.OK, head.committed, head.next_line, *told)
                    await socket.send_text(msgspec.json.encode(ack).decode())
                continue
            ack = log.take(message)
            messages += 1
            if self.knobs.close_after_messages and (
                messages > self.knobs.close_after_messages
            ):
                await socket.close()  # stored, but the answer never arrives
                return
            if not self.knobs.withhold_acks:
                await socket.send_text(msgspec.json.encode(ack).decode())

    async def _file(self, request):
        task_id, name = request.path_params["task_id"], request.path_params["name"]
        if not self._is_task(request, task_id):
            return problem(401, "unauthorized")
        if request.method == "PUT":
            if name == "state" and self.knobs.state_status != 200:
                return problem(self.knobs.state_status, "conflict")
            self.files[name] = await request.body()
            return JSONResponse({})
        if name == "configuration":
            return Response(self.configuration)
        if name not in self.files:
            return Response(status_code=204)
        return Response(self.files[name])


def reply(model) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def problem(status: int, code: str, **extra) -> JSONResponse:
    body = {"status": status, "code": code, "detail": f"the fake says {code}.", **extra}
    return JSONResponse(body, status, media_type="application/problem+json")


def in_an_hour():
    return SystemClock().now() + timedelta(hours=1)


def archive(files: dict[str, str]) -> bytes:
    """A tar.gz of some text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(probe, seconds: float = 20.0):
    """The first true answer of ``probe``, for tests that run no loop."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := probe():
            return value
        time.sleep(0.01)
    raise AssertionError("waited in vain")


async def until_async(probe, seconds: float = 20.0):
    """The first true answer of ``probe``, while the loop goes on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := probe():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")
