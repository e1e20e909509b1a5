"""A server over real HTTP, with an administrator, a pool, and a scripted agent in it."""

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from sluice.auth.model import OrganizationPermission, WorkspaceLevel
from sluice.base.clock import SystemClock, to_micros
from sluice.base.ids import TaskId
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from sluice.wire.chunk import (
    Chunk,
    Kind,
    Source,
    encode_chunk,
    event_chunk,
    placed,
)
from sluice.wire.events import (
    Stage,
    StageBegin,
    StageEnd,
    StageOutcome,
    marker_line,
)
from tests.support.who import People

Json = dict[str, Any]


@dataclass
class Caller:
    """HTTP with one bearer token."""

    http: httpx2.AsyncClient
    token: str

    async def ask(
        self, method: str, path: str, *, expect: int = 200, **kwargs: Any
    ) -> Any:
        answer = await self.http.request(
            method,
            f"/api/v1{path}",
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
            **kwargs,
        )
        assert answer.status_code == expect, answer.text
        is_json = "json" in answer.headers.get("content-type", "") and answer.content
        return answer.json() if is_json else answer.content

    async def get(self, path: str, expect: int = 200) -> Any:
        return await self.ask("GET", path, expect=expect)

    async def post(self, path: str, body: Any = None, expect: int = 200) -> Any:
        return await self.ask("POST", path, json=body, expect=expect)

    async def put(self, path: str, content: bytes, expect: int = 200) -> Any:
        return await self.ask("PUT", path, content=content, expect=expect)


@dataclass
class House:
    """A server with an administrator, an organization, a pool and an agent."""

    serving: Serving
    http: httpx2.AsyncClient
    admin: Caller
    pool_token: str
    agent: Caller
    agent_id: str

    async def member(
        self,
        name: str,
        *permissions: OrganizationPermission,
        level: WorkspaceLevel | None = None,
    ) -> Caller:
        """A new member of the organization, in a team of their own."""
        auth = self.serving.concepts.auth
        people = People(auth.transactions, auth.store)
        async with auth.transactions.read() as tx:
            owner = await auth.store.find_organization(tx, "acme")
        assert owner is not None
        user_id = await people.user(name)
        await people.member(owner.id, user_id)
        await people.team(owner.id, [user_id], permissions=permissions, level=level)
        return Caller(self.http, await people.token(user_id))

    async def workspace(self, name: str, **fields: Any) -> str:
        made = await self.admin.post(
            "/organizations/acme/workspaces", {"name": name, **fields}, expect=201
        )
        version = await self.admin.post(
            f"/workspaces/{made['id']}/configuration-versions", expect=201
        )
        upload = version["upload_url"].removeprefix("/api/v1")
        await self.admin.put(upload, archive({"main.tf": "# nothing\n"}))
        return str(made["id"])

    async def pull(self, wait: float = 0, **slots: int) -> "Job | None":
        slots = slots or {"plan": 1, "apply": 1}
        answer = await self.http.post(
            f"/api/v1/agents/{self.agent_id}/tasks/pull",
            json={"slots": slots, "wait_seconds": wait},
            headers={"Authorization": f"Bearer {self.agent.token}"},
        )
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, answer.text
        order = answer.json()
        return Job(self, order, Caller(self.http, order["task_token"]))

    async def work(self) -> "Job":
        job = await self.pull(wait=5)
        assert job is not None
        return job


@dataclass
class Job:
    """A phase process, without terraform."""

    house: House
    order: Json
    caller: Caller
    written: bytes = b""
    reports: list[Json] = field(default_factory=list)

    @property
    def here(self) -> str:
        return f"/tasks/{self.order['task_id']}"

    @property
    def agent_here(self) -> str:
        return f"/agents/{self.house.agent_id}/tasks/{self.order['task_id']}"

    async def started(self, expect: int = 200) -> None:
        body = {"lease_id": self.order["lease_id"]}
        await self.caller.post(f"{self.agent_here}/started", body, expect=expect)

    async def upload(self, chunk: Chunk) -> None:
        log = self.order["log"]
        at = log["offset"] + len(self.written)
        line = log["next_line"] + self.written.count(b"\n")
        task_id = TaskId(self.order["task_id"])
        put = placed(chunk, offset=at, first_line=line)
        concepts = self.house.serving.concepts
        ack = await concepts.logs.logs.append(
            task_id, log["epoch"], at, encode_chunk(put)
        )
        assert ack.status == "ok", ack
        self.written += chunk.data

    async def say(self, data: bytes) -> None:
        now = to_micros(SystemClock().now())
        await self.upload(Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, now, data))

    async def stage(self, stage: Stage, output: bytes = b"") -> None:
        begun, phase = SystemClock().now(), self.order["phase"]
        await self.mark(StageBegin(stage, phase), marker_line(stage, "BEGIN", begun))
        if output:
            await self.say(output)
        ended = SystemClock().now()
        outcome = StageOutcome.COMPLETED
        await self.mark(
            StageEnd(stage, phase, outcome), marker_line(stage, "END", ended)
        )
        self.reports.append(
            {
                "stage": stage,
                "outcome": outcome,
                "started_at": begun.isoformat(),
                "completed_at": ended.isoformat(),
            }
        )

    async def mark(self, event: StageBegin | StageEnd, line: bytes) -> None:
        now = to_micros(SystemClock().now())
        await self.upload(
            event_chunk(event, line, source=Source.AGENT, captured_us=now)
        )

    async def finish(
        self, outcome: str = "succeeded", *, expect: int = 200, **fields: Any
    ) -> Any:
        log = self.order["log"]
        end = {
            "offset": log["offset"] + len(self.written),
            "next_line": log["next_line"] + self.written.count(b"\n"),
            "sha256": hashlib.sha256(self.written).hexdigest(),
        }
        body = {
            "lease_id": self.order["lease_id"],
            "outcome": outcome,
            "stages": self.reports,
            "log_end": end,
            **fields,
        }
        return await self.house.agent.post(
            f"{self.agent_here}/finish", body, expect=expect
        )


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@asynccontextmanager
async def open_house(settings: ServerSettings) -> AsyncIterator[House]:
    async with (
        serving(settings) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=40) as http,
    ):
        setup = Caller(http, "")
        answer = await setup.post(
            "/auth/setup", {"token": server.setup_token, "name": "ann"}, expect=201
        )
        admin = Caller(http, answer["token"])
        await admin.post("/organizations", {"name": "acme"}, expect=201)
        pool = await admin.post(
            "/organizations/acme/pools", {"name": "idc1"}, expect=201
        )
        token = await admin.post(
            f"/pools/{pool['id']}/tokens", {"name": "first"}, expect=201
        )
        registrant = Caller(http, token["token"])
        agent = await registrant.post(
            "/agents/register", {"name": "builder", "version": "0.1"}
        )
        yield House(
            server,
            http,
            admin,
            token["token"],
            Caller(http, agent["token"]),
            agent["agent_id"],
        )
