"""A real server with people, scripts, and an agent whose scripts say what a test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from sluice.auth.model import OrganizationPermission
from sluice.base.clock import SystemClock, to_micros
from sluice.base.ids import UserId
from sluice.client.agent_api import AgentApi
from sluice.logs.incoming import join_upload
from sluice.server.serving import Serving, serving
from sluice.server.settings import load_settings
from sluice.wire.agent import (
    LogEnd,
    PhaseOrder,
    PhaseOutcome,
    PhaseResult,
    PullRequest,
    RegisterRequest,
    ScriptOrder,
    Slots,
    StartedReport,
)
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk
from sluice.wire.log_flow import AckStatus
from sluice.wire.script_mark import ScriptMark, encode_mark, mark_after
from tests.support.who import People

SETTINGS = {
    "port": 0,
    "shutdown_seconds": 2,
    "streams_per_user": 1000,
    "streams_per_minute_per_address": 10_000,
    "allowed_origins": ["https://panel.example.com"],
}
PANEL = "https://panel.example.com"


@dataclass
class Run:
    """A script's run on the scripted agent: it has said what was written so far."""

    agent: "ScriptedAgent"
    order: PhaseOrder
    offset: int = 0
    line: int = 0
    mark: ScriptMark = field(
        default_factory=lambda: ScriptMark(process_id=4711, script_path="/tmp/x.sh")
    )

    @property
    def task_id(self) -> str:
        return self.order.task_id

    @property
    def script(self) -> ScriptOrder:
        assert self.order.script is not None
        return self.order.script

    async def write(self, text: str, source: Source = Source.STDOUT) -> None:
        """The script writes; durable when this returns."""
        data = text.encode()
        chunk = Chunk(
            self.offset,
            self.line,
            source,
            Kind.OUTPUT,
            to_micros(SystemClock().now()),
            data,
            encode_mark(self.mark),
        )
        message = join_upload(self.order.log.epoch, self.offset, encode_chunk(chunk))
        ack = await self.agent.api.patch_log(
            self.order.task_token, self.task_id, self.order.lease_id, message
        )
        assert ack.status is AckStatus.OK, ack
        self.mark = mark_after(self.mark, data)
        self.offset, self.line = chunk.end, chunk.next_line

    async def finish(self, exit_code: int = 0, error: str = "") -> None:
        """The script ends."""
        well = exit_code == 0
        result = PhaseResult(
            lease_id=self.order.lease_id,
            outcome=PhaseOutcome.SUCCEEDED if well else PhaseOutcome.FAILED,
            exit_code=exit_code,
            error=error,
            log_end=LogEnd(offset=self.offset, next_line=self.line),
        )
        await self.agent.api.finish(
            self.order.task_token, self.agent.agent_id, self.task_id, result
        )


@dataclass
class ScriptedAgent:
    """A registered agent that pulls when a test says so."""

    api: AgentApi
    agent_id: str
    token: str

    async def take(self, task_id: str) -> Run:
        """The order for this task; there may be no other before it in the queue."""
        pulled = await self.api.pull(
            self.token,
            self.agent_id,
            PullRequest(slots=Slots(plan=50, apply=1), wait_seconds=20),
        )
        assert pulled.order is not None
        assert pulled.order.task_id == task_id
        report = StartedReport(lease_id=pulled.order.lease_id)
        await self.api.started(pulled.order.task_token, self.agent_id, task_id, report)
        log = pulled.order.log
        return Run(self, pulled.order, log.offset, log.next_line)


@dataclass
class Site:
    """The server, an admin's and a user's client, and the agent."""

    serving: Serving
    admin: httpx2.AsyncClient
    user: httpx2.AsyncClient
    nobody: httpx2.AsyncClient
    agent: ScriptedAgent

    @property
    def url(self) -> str:
        return self.serving.url

    @property
    def token(self) -> str:
        """The user's."""
        return self.user.headers["authorization"].removeprefix("Bearer ")

    async def script(self, key: str, **fields: Any) -> dict[str, Any]:
        """Register a script."""
        answer = await self.admin.post(
            "/api/v1/organizations/default/scripts",
            json={"key": key, "body": "#!/bin/sh\n", **fields},
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def install(self, key: str, **fields: Any) -> str:
        """Start a script; returns its task."""
        answer = await self.user.post("/v1/soft/install", json={"key": key, **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    async def running(self, key: str, **fields: Any) -> Run:
        """Start a script and let the agent take it."""
        return await self.agent.take(await self.install(key, **fields))

    async def retire(self, task_id: str) -> None:
        """As if the time of this log were over."""
        retention = self.serving.concepts.retention
        now = SystemClock().now()
        logs: Any = retention.logs
        async with retention.transactions.write() as tx:
            key = f"logs/{task_id}.slz"
            await logs.set_archived(tx, task_id, blob_key=key, at=now)
            assert await logs.retire(tx, task_id, at=now)

    async def sealed(self, task_id: str) -> None:
        """Wait until the log has its end."""
        async with asyncio.timeout(30):
            while True:
                head = await self.serving.concepts.logs.logs.head(task_id)  # type: ignore[arg-type]
                if head.closed:
                    return
                await asyncio.sleep(0.02)


def client_of(url: str, token: str) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(
        base_url=url, headers=headers, trust_env=False, timeout=40
    )


async def may_work(server: Serving, user_id: str) -> None:
    """Make the user a member who runs scripts, and makes and administers workspaces."""
    auth = server.concepts.auth
    people = People(auth.transactions, auth.store)
    async with auth.transactions.read() as tx:
        owner = await auth.store.find_organization(tx, "default")
    assert owner is not None
    await people.member(owner.id, UserId(user_id))
    may = [
        OrganizationPermission.RUN_SCRIPTS,
        OrganizationPermission.MANAGE_WORKSPACES,
    ]
    await people.team(owner.id, [UserId(user_id)], permissions=may)


@asynccontextmanager
async def open_site(directory: Path, **settings: Any) -> AsyncIterator[Site]:
    """A fresh server with the admin ada, bob who works, and an agent of the pool p."""
    given = load_settings({"data_dir": directory, **SETTINGS, **settings})
    async with serving(given) as server, client_of(server.url, "") as nobody:
        answer = await nobody.post(
            "/api/v1/auth/setup", json={"token": server.setup_token, "name": "ada"}
        )
        admin_token = answer.json()["token"]
        async with client_of(server.url, admin_token) as admin:
            bob = (await admin.post("/api/v1/users", json={"name": "bob"})).json()
            await may_work(server, bob["id"])
            issued = await admin.post(
                f"/api/v1/users/{bob['id']}/tokens", json={"name": "t"}
            )
            pool = await admin.post(
                "/api/v1/organizations/default/pools",
                json={"name": "p", "max_plan_concurrency": 50},
            )
            pool_token = await admin.post(
                f"/api/v1/pools/{pool.json()['id']}/tokens", json={"name": "t"}
            )
            async with (
                client_of(server.url, issued.json()["token"]) as user,
                AgentApi(server.url, version="0.1.0") as api,
            ):
                registered = await api.register(
                    pool_token.json()["token"],
                    RegisterRequest(name="a", version="0.1.0"),
                )
                agent = ScriptedAgent(api, registered.agent_id, registered.token)
                yield Site(server, admin, user, nobody, agent)
