"""A loopback server that has nothing but the routes of logs, over real HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from sluice.auth.guard import deny_by_default
from sluice.auth.model import AgentPrincipal, Principal, TaskPrincipal, UserPrincipal
from sluice.auth.trail import NoTrail
from sluice.base.clock import SystemClock
from sluice.base.errors import NotFoundError, UnauthorizedError
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    UserId,
    WorkspaceId,
)
from sluice.edge.problems import install_problem_handlers
from sluice.edge.upgrade import CheckUpgrades
from sluice.edge.websocket import FrameProtocol
from sluice.events.hub import Hub
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.tasks.log_api import build_log_routes
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.model import LogFigures, Task, TaskState
from sluice.tasks.viewers import Admission, StreamLimits
from sluice.testing.open_access import OpenAccess
from sluice.wire.agent import Engine
from sluice.wire.shapes.tasks import TaskType
from tests.logs.harness import Agent, new_log, running

ADA = UserPrincipal(UserId("user-ada"), "ada", admin=False)
ORG = OrganizationId("org-1")
AGENT = AgentPrincipal(AgentId("agent-1"), PoolId("pool-1"), ORG)
ALLOWED = "https://panel.example.com"
MANY = StreamLimits(viewers_per_task=1000, streams_per_user=1000, new_per_minute=1000)


@dataclass
class Facts:
    """Tasks and callers as a dict."""

    tasks: dict[TaskId, Task] = field(default_factory=dict)
    callers: dict[str, Principal] = field(
        default_factory=lambda: {"ada": ADA, "agent": AGENT}
    )

    async def task(self, task_id: TaskId) -> Task:
        if task_id not in self.tasks:
            raise NotFoundError(f"There is no task {task_id}.")
        return self.tasks[task_id]

    async def authenticate(self, bearer: str) -> Principal:
        if bearer not in self.callers:
            raise UnauthorizedError("The token is unknown.")
        return self.callers[bearer]


def a_task(task_id: TaskId, **fields: Any) -> Task:
    task = Task(
        id=task_id,
        workspace_id=WorkspaceId("ws-1"),
        organization_id=ORG,
        task_type=TaskType.PLAN_AND_APPLY,
        created_by="ada",
        created_at=datetime(2026, 11, 21, 10, 0, tzinfo=UTC),
        engine=Engine.TERRAFORM,
        terraform_version="1.11.4",
        working_directory="",
        state=TaskState.PLANNING,
    )
    return replace(task, **fields)


@dataclass
class LogServer:
    """The server and what tests need to reach into it."""

    system: LogSystem
    backing: LogBacking
    facts: Facts
    port: int
    http: uvicorn.Server
    app: FastAPI

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def agent(self, **fields: Any) -> Agent:
        """A new task's writer."""
        task_id = await new_log(self.system, self.backing)
        self.facts.tasks[task_id] = a_task(task_id, **fields)
        return Agent(self.system, task_id)

    async def end(self, agent: Agent, *, status: str = "success", **log: Any) -> None:
        """The task and its log end."""
        await self.system.logs.seal(agent.task_id, status)
        self.facts.tasks[agent.task_id] = replace(
            self.facts.tasks[agent.task_id],
            state=TaskState(status),
            completed_at=datetime(2026, 11, 21, 10, 5, tzinfo=UTC),
            started_at=datetime(2026, 11, 21, 10, 0, tzinfo=UTC),
            log=LogFigures(**log),
        )

    def watch(self, task_id: TaskId, query: str = "", *, token: str = "ada") -> connect:
        """A viewer's WebSocket."""
        return connect(
            f"ws://127.0.0.1:{self.port}/api/v1/tasks/{task_id}/output/stream?{query}",
            additional_headers={"Authorization": f"Bearer {token}"} if token else {},
            max_size=64 * 1024 * 1024,
            compression=None,
        )


async def frames_to_end(socket: ClientConnection) -> list[dict[str, Any]]:
    """All frames until the server closes."""
    return [json.loads(message) async for message in socket]


def build_app(system: LogSystem, facts: Facts, limits: StreamLimits) -> FastAPI:
    app = FastAPI()
    app.state.access = OpenAccess()
    app.state.trail = NoTrail()
    app.state.authenticator = facts
    install_problem_handlers(app)
    app.add_middleware(CheckUpgrades, allowed_origins={ALLOWED})
    clock = SystemClock()
    deps = LogApiDeps(facts, system.logs, system.tails, Admission(limits, clock), clock)
    app.router.routes.extend(build_log_routes(deps))
    assert not [path for path in deny_by_default(app.router.routes) if "/api/" in path]
    return app


@asynccontextmanager
async def log_server(
    backing: LogBacking,
    *,
    limits: StreamLimits = MANY,
    raw: bool = True,
    hub: Hub | None = None,
) -> AsyncIterator[LogServer]:
    """Serve while the block runs; ``raw`` offers the raw frame extension."""
    facts = Facts()
    async with running(backing, hub) as system:
        app = build_app(system, facts, limits)
        config = uvicorn.Config(
            app,
            http="httptools",
            ws=FrameProtocol if raw else "websockets-sansio",
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server._serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            port = listener.getsockname()[1]
            try:
                yield LogServer(system, backing, facts, port, server, app)
            finally:
                server.should_exit = True
                await serving


def task_token(task_id: TaskId, lease_id: str) -> TaskPrincipal:
    return TaskPrincipal(task_id, LeaseId(lease_id), ORG)
