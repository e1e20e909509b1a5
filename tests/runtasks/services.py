"""A service on a loopback port that does what a test says, and a house where it is asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from sluice.base.ids import RunTaskResultId
from sluice.server.settings import ServerSettings, load_settings
from tests.agents.house import House, Json

SECONDS = 30.0


@dataclass
class Call:
    """One request that the service got."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def token(self) -> str:
        return str(self.payload["access_token"])

    @property
    def callback_path(self) -> str:
        return urlsplit(self.payload["task_result_callback_url"]).path


Answers = Callable[[Call], Awaitable[int]]


async def taken(call: Call) -> int:
    """The answer of a service that has taken the call."""
    return 200


@dataclass
class Service:
    """What it got, and how it answers."""

    port: int = 0
    answers: Answers = taken
    calls: list[Call] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/check?failOn=low"

    async def call(self, number: int = 0) -> Call:
        """The call of this number, once it came."""
        async with asyncio.timeout(SECONDS):
            while len(self.calls) <= number:
                self.came.clear()
                await self.came.wait()
        return self.calls[number]

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            call = Call(first.split(" ")[1], headers, body)
            self.calls.append(call)
            self.came.set()
            status = await self.answers(call)
            writer.write(
                f"HTTP/1.1 {status} Some\r\ncontent-length: 0\r\n"
                "connection: close\r\n\r\n".encode()
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def service(answers: Answers = taken) -> AsyncIterator[Service]:
    """A service while the block runs."""
    made = Service(answers=answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def open_settings(folder: Path, **given: Any) -> ServerSettings:
    """Settings under which services may be on this machine."""
    return load_settings(
        {
            "data_dir": folder,
            "port": 0,
            "shutdown_seconds": 2,
            "outgoing_allowed_cidrs": "127.0.0.0/8",
            "outgoing_allow_http": True,
            **given,
        }
    )


async def run_task(house: House, name: str, url: str, **fields: Any) -> str:
    """A new run task of the house's organization."""
    made = await house.admin.post(
        "/run-tasks",
        {"organization_id": "acme", "name": name, "endpoint_url": url, **fields},
        expect=201,
    )
    return str(made["run_task_id"])


async def attach(
    house: House, workspace: str, run_task_id: str, stage: str, level: str
) -> None:
    """Have it asked at a stage of the workspace's tasks."""
    await house.admin.post(
        f"/workspaces/{workspace}/run-tasks",
        {"run_task_id": run_task_id, "stage": stage, "enforcement_level": level},
        expect=201,
    )


async def asked(
    house: House, url: str, stage: str = "pre_plan", level: str = "mandatory"
) -> str:
    """A workspace in which the service ``checks`` is asked at one stage."""
    workspace = await house.workspace(f"asked-{stage}".replace("_", "-"))
    await attach(house, workspace, await run_task(house, "checks", url), stage, level)
    return workspace


async def new_task(house: House, workspace: str, task_type: str = "plan") -> str:
    """A task in the queue."""
    made = await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": task_type}, expect=201
    )
    return str(made["id"])


async def results(house: House, workspace: str, task_id: str) -> list[Json]:
    """What was said of a task."""
    found = await house.admin.get(
        f"/workspaces/{workspace}/tasks/{task_id}/run-task-results"
    )
    listed: list[Json] = found["results"]
    return listed


async def until(
    what: str, probe: Callable[[], Awaitable[Any]], seconds: float = SECONDS
) -> Any:
    """The first true answer of ``probe``."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := await probe()):
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def task_until(house: House, task_id: str, status: str) -> Json:
    """The task, once it has this status."""

    async def probe() -> Json | None:
        task: Json = await house.admin.get(f"/tasks/{task_id}")
        return task if task["status"] == status else None

    found: Json = await until(f"{task_id} to be {status}", probe)
    return found


def document(status: str, message: str = "said so", **attributes: Any) -> Json:
    """A callback as HCP's services send it."""
    return {
        "data": {
            "type": "task-results",
            "attributes": {"status": status, "message": message, **attributes},
        }
    }


async def call_back(
    house: House, call: Call, body: Any = None, **given: Any
) -> httpx2.Response:
    """Send a callback for a call; ``passed`` where nothing else is said."""
    token = given.pop("token", call.token)
    headers = {
        "authorization": f"Bearer {token}" if token else "",
        "content-type": given.pop("media", "application/vnd.api+json"),
    }
    content = given.pop("content", None)
    if content is None:
        content = json.dumps(body or document("passed")).encode()
    return await house.http.patch(
        given.pop("path", call.callback_path),
        content=content,
        headers={name: value for name, value in headers.items() if value},
    )


async def change_result(house: House, result_id: str, **changes: Any) -> None:
    """Change a result behind the server's back: time passes, say."""
    asking = house.serving.concepts.asking
    async with asking.tasks.transactions.write() as tx:
        result = await asking.store.hold(tx, RunTaskResultId(result_id))
        assert result is not None
        await asking.store.save(tx, replace(result, **changes))
