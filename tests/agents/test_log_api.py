"""Uploads over a real loopback server: pipelined, acknowledged in order, fenced, and steered."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sluice.agents.log_api import build_upload_routes
from sluice.agents.upload import Closing, UploadDeps
from sluice.base.clock import SystemClock
from sluice.base.errors import NotFoundError, UnavailableError
from sluice.base.ids import AgentId, LeaseId
from sluice.db.engine import Database
from sluice.events.hub import Hub
from sluice.events.topics import task_topic, watch_topic
from sluice.logs.dialects import DialectName
from sluice.logs.incoming import join_upload
from sluice.logs.tails import from_line
from sluice.tasks.model import LeaseRecord
from sluice.testing.memory_logs import MemoryBlobs
from sluice.wire.agent import PhaseName
from sluice.wire.chunk import Chunk, Source, event_chunk
from sluice.wire.events import Stage, StageBegin
from tests.logs.harness import NOW_US, Agent, backing_of, new_log, output, read_text
from tests.tasks.log_server import LogServer, log_server, task_token


@dataclass
class Work:
    """The phase behind an upload, as notes."""

    leases: dict[LeaseId, LeaseRecord] = field(default_factory=dict)
    renewed: list[LeaseId] = field(default_factory=list)
    events: list[Chunk] = field(default_factory=list)
    order: str = ""

    async def lease(self, lease_id: LeaseId) -> LeaseRecord:
        if lease_id not in self.leases:
            raise NotFoundError(f"There is no lease {lease_id}.")
        return self.leases[lease_id]

    async def renew(self, lease: LeaseRecord) -> None:
        self.renewed.append(lease.id)

    async def record(self, lease: LeaseRecord, chunks: Sequence[Chunk]) -> None:
        self.events += chunks

    async def command(self, lease: LeaseRecord) -> str:
        return self.order


@dataclass
class Uploads:
    """A server that takes uploads, one task, and its lease."""

    server: LogServer
    work: Work
    hub: Hub
    agent: Agent
    lease: LeaseRecord

    def connect(self, *, token: str = "phase", query: str = "") -> connect:
        where = query or f"task_id={self.agent.task_id}&lease_id={self.lease.id}"
        return connect(
            f"ws://127.0.0.1:{self.server.port}/ws/agent/logs?stream_mode=auto&{where}",
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
        )

    async def patch(self, body: bytes, *, token: str = "phase") -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False, timeout=40) as client:
            return await client.patch(
                f"{self.server.url}/api/v1/tasks/{self.agent.task_id}/log",
                params={"lease_id": self.lease.id},
                headers={"Authorization": f"Bearer {token}"},
                content=body,
            )

    def message(self, *chunks: Chunk) -> bytes:
        at, payload = self.agent.place(chunks)
        return join_upload(self.agent.epoch, at, payload)


@asynccontextmanager
async def hung_up() -> AsyncIterator[None]:
    """The connection ends inside the block."""
    with pytest.raises(ConnectionClosed):
        yield


@pytest.fixture
async def uploads(sqlite_database: Database) -> AsyncIterator[Uploads]:
    hub = Hub()
    backing = backing_of(sqlite_database, MemoryBlobs())
    work = Work()
    async with log_server(backing, hub=hub) as server:
        system = server.system
        deps = UploadDeps(system.logs, system.tails, work, hub, SystemClock())
        server.app.router.routes.extend(build_upload_routes(deps))
        task_id = await new_log(system, backing)
        async with backing.transactions.write() as tx:
            at = await system.logs.hand_over(tx, task_id)
        lease = LeaseRecord(
            LeaseId("lease-1"),
            task_id,
            AgentId("agent-1"),
            PhaseName.PLAN,
            at.epoch,
            at.offset,
            at.next_line,
            datetime.now(UTC),
        )
        work.leases[lease.id] = lease
        server.facts.callers["phase"] = task_token(task_id, "lease-1")
        agent = Agent(system, task_id, at.epoch, at.offset, at.next_line)
        yield Uploads(server, work, hub, agent, lease)


async def heard(socket: ClientConnection) -> dict[str, object]:
    found: dict[str, object] = json.loads(await socket.recv())
    return found


async def probed(uploads: Uploads, socket: ClientConnection) -> dict[str, object]:
    await socket.send(uploads.message())
    return await heard(socket)


# --- WebSocket ------------------------------------------------------------------


async def test_a_probe_is_answered_with_where_the_log_stands(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        assert await probed(uploads, socket) == {
            "status": "ok",
            "committed": 0,
            "next_line": 1,
            "watched": False,
            "command": "",
        }


async def test_messages_follow_each_other_without_waiting(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        whole = b""
        for number in range(300):
            piece = b"line %d\n" % number * 20
            whole += piece
            await socket.send(uploads.message(output(piece)))
        committed: list[int] = []
        while not committed or committed[-1] < len(whole):
            ack = await heard(socket)
            assert ack["status"] == "ok"
            committed.append(int(str(ack["committed"])))
        assert committed == sorted(committed)
    await uploads.server.system.logs.seal(uploads.agent.task_id, "success")
    assert await read_text(uploads.server.system, uploads.agent.task_id) == whole
    assert uploads.work.renewed == ["lease-1"]


async def test_after_a_cut_nothing_is_stored_twice(uploads: Uploads) -> None:
    sent = [uploads.message(output(b"%d\n" % number)) for number in range(10)]
    async with uploads.connect() as socket:
        for message in sent[:6]:
            await socket.send(message)
        await heard(socket)
        socket.transport.abort()
    async with uploads.connect() as socket:
        committed = (await probed(uploads, socket))["committed"]
        assert committed in range(2, 13, 2)
        for message in sent:
            await socket.send(message)
        while (await heard(socket))["committed"] != 20:
            pass
    await uploads.server.system.logs.seal(uploads.agent.task_id, "success")
    text = await read_text(uploads.server.system, uploads.agent.task_id)
    assert text == b"".join(b"%d\n" % number for number in range(10))


async def test_a_wrong_offset_is_answered_and_mended(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        uploads.message(output(b"lost\n"))
        await socket.send(uploads.message(output(b"after\n")))
        assert (await heard(socket))["status"] == "refused"
        uploads.agent.offset, uploads.agent.line = 0, 1
        await socket.send(uploads.message(output(b"lost\n")))
        await socket.send(uploads.message(output(b"after\n")))
        while (await heard(socket))["committed"] != 11:
            pass


async def test_events_are_recorded_once_they_are_durable(uploads: Uploads) -> None:
    begin = StageBegin(Stage.INIT, "plan")
    event = event_chunk(begin, b"INIT\n", source=Source.AGENT, captured_us=NOW_US)
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        await socket.send(uploads.message(output(b"a\n"), event))
        await heard(socket)
        async with asyncio.timeout(5):
            while not uploads.work.events:
                await asyncio.sleep(0.01)
    assert [chunk.event for chunk in uploads.work.events] == [begin]


async def test_the_former_holder_is_fenced_off(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        system, backing = uploads.server.system, uploads.server.backing
        async with backing.transactions.write() as tx:
            await system.logs.hand_over(tx, uploads.agent.task_id)
        await socket.send(uploads.message(output(b"late\n")))
        assert (await heard(socket))["status"] == "wrong_epoch"
        # nor may it take another's number
        uploads.agent.epoch = 2
        await socket.send(uploads.message(output(b"late\n")))
        assert (await heard(socket))["status"] == "wrong_epoch"
    assert (await system.logs.head(uploads.agent.task_id)).committed == 0


async def test_the_agent_hears_that_somebody_watches(uploads: Uploads) -> None:
    task_id = uploads.agent.task_id
    async with uploads.connect() as socket:
        assert not (await probed(uploads, socket))["watched"]
        tails = uploads.server.system.tails
        async with tails.read(task_id, DialectName.BATCH, from_line(0)):
            async with asyncio.timeout(2):
                assert (await heard(socket))["watched"]
        # on another server, as its hint says
        await asyncio.sleep(0.05)
        tails.forget(task_id)
        await socket.send(uploads.message(output(b"x\n")))
        assert not (await heard(socket))["watched"]
        uploads.hub.deliver(watch_topic(task_id))
        async with asyncio.timeout(2):
            ack = await heard(socket)
        assert (ack["watched"], ack["committed"]) == (True, 2)


async def test_the_agent_hears_what_it_is_asked_to_do(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        uploads.work.order = "cancel"
        uploads.hub.publish(task_topic(uploads.agent.task_id))
        async with asyncio.timeout(2):
            assert (await heard(socket))["command"] == "cancel"
        await socket.send(uploads.message(output(b"x\n")))
        assert (await heard(socket))["command"] == "cancel"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no upload: 0 bytes, where 16 to "),
        (b"short", "no upload: 5 bytes, where 16 to "),
        ("text", "no upload: a text message where a binary one is due"),
        (b"x" * 2_200_000, "no upload: 2200000 bytes, where 16 to "),
    ],
)
async def test_what_is_no_upload_ends_the_connection_with_a_reason(
    uploads: Uploads, message: bytes | str, why: str
) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)
        await socket.send(message)
        async with hung_up():
            await socket.recv()
        assert socket.close_code == 1007
        assert (socket.close_reason or "").startswith(why)


def test_a_reason_is_cut_to_what_a_close_frame_holds() -> None:
    closing = Closing(1007, "x" * 122 + "é and more")
    assert closing.reason == "x" * 122
    assert Closing(1007, "é" * 70).reason == "é" * 61


async def test_a_damaged_message_is_asked_for_again(uploads: Uploads) -> None:
    async with uploads.connect() as socket:
        good = uploads.message(output(b"fine\n"))
        await socket.send(good[:-1] + b"?")
        assert (await heard(socket))["status"] == "corrupt"
        await socket.send(good)
        assert (await heard(socket))["committed"] == 5


async def test_a_database_that_is_away_means_try_again(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with uploads.connect() as socket:
        await probed(uploads, socket)

        async def away(units: object) -> None:
            raise UnavailableError("the disk is full")

        monkeypatch.setattr(uploads.server.system.lane, "append_many", away)
        await socket.send(uploads.message(output(b"x\n")))
        async with hung_up():
            await socket.recv()
        assert socket.close_code == 1013
        assert socket.close_reason == "the disk is full"


async def problem(
    uploads: Uploads, *, token: str = "phase", query: str = ""
) -> tuple[int, str]:
    """Status and detail with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await uploads.connect(token=token, query=query)
    response = error.value.response
    return response.status_code, json.loads(response.body or b"")["detail"]


async def refused(uploads: Uploads, *, token: str = "phase", query: str = "") -> int:
    return (await problem(uploads, token=token, query=query))[0]


async def test_who_may_not_upload_is_refused_before_the_upgrade(
    uploads: Uploads,
) -> None:
    task_id = uploads.agent.task_id
    mine = f"task_id={task_id}&lease_id=lease-1"
    assert await refused(uploads, token="who") == 401
    assert await refused(uploads, token="ada") == 403
    assert await refused(uploads, query="task_id=task-2&lease_id=lease-1") == 403
    assert await refused(uploads, query=f"task_id={task_id}&lease_id=lease-2") == 403
    assert await refused(uploads, query=f"{mine}&stream_mode=never") == 422
    assert await refused(uploads, token="agent", query=f"{mine}0") == 404


async def test_a_refusal_says_what_is_missing_and_what_to_do(
    uploads: Uploads,
) -> None:
    task_id = uploads.agent.task_id
    missing = "lease_id is missing; give the one that the phase's order names"
    for query in (f"task_id={task_id}", f"task_id={task_id}&lease_id="):
        status, detail = await problem(uploads, token="agent", query=query)
        assert (status, detail.startswith(missing)) == (422, True), detail
    status, detail = await problem(uploads, query="lease_id=lease-1")
    assert (status, detail.startswith("task_id is missing; ")) == (422, True)
    _, detail = await problem(uploads, query=f"task_id={task_id}&lease_id=lease-2")
    assert "that of the lease lease-1, not of lease-2; give that one" in detail
    _, detail = await problem(uploads, query="task_id=task-2")
    assert (
        f"The token is that of {task_id}; it may not write the log of task-2" in detail
    )
    query = f"task_id={task_id}&lease_id=lease-9"
    _, detail = await problem(uploads, token="agent", query=query)
    assert detail.startswith("There is no lease lease-9; give the one")


async def test_a_patch_without_a_lease_says_so(uploads: Uploads) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=40) as client:
        answer = await client.patch(
            f"{uploads.server.url}/api/v1/tasks/{uploads.agent.task_id}/log",
            headers={"Authorization": "Bearer agent"},
            content=uploads.message(),
        )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("lease_id is missing; ")


async def test_the_agents_own_token_serves_for_its_leases(uploads: Uploads) -> None:
    async with uploads.connect(token="agent") as socket:
        assert (await probed(uploads, socket))["status"] == "ok"
    held = uploads.work.leases[uploads.lease.id]
    other = LeaseRecord(
        held.id,
        held.task_id,
        AgentId("agent-2"),
        held.phase,
        held.epoch,
        0,
        1,
        held.claimed_at,
    )
    uploads.work.leases[held.id] = other
    assert await refused(uploads, token="agent") == 404


# --- PATCH ----------------------------------------------------------------------


async def test_the_same_message_by_patch(uploads: Uploads) -> None:
    begin = StageBegin(Stage.INIT, "plan")
    event = event_chunk(begin, b"INIT\n", source=Source.AGENT, captured_us=NOW_US)
    uploads.work.order = "cancel"
    message = uploads.message(output(b"a\n"), event)
    for _ in range(2):
        answer = await uploads.patch(message)
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "committed": 7,
            "next_line": 3,
            "watched": False,
            "command": "cancel",
        }
    assert [chunk.event for chunk in uploads.work.events] == [begin, begin]
    assert uploads.work.renewed == ["lease-1", "lease-1"]


async def test_what_does_not_fit_by_patch(uploads: Uploads) -> None:
    good = uploads.message(output(b"a\n"))
    assert (await uploads.patch(good[:-1] + b"?")).json()["status"] == "corrupt"
    gap = uploads.message(output(b"b\n"))
    answer = await uploads.patch(gap)
    assert (answer.status_code, answer.json()["status"]) == (409, "refused")
    uploads.agent.epoch = 9
    wrong = await uploads.patch(uploads.message())
    assert (wrong.status_code, wrong.json()["status"]) == (409, "wrong_epoch")
    assert (await uploads.patch(b"short")).status_code == 422
    assert (await uploads.patch(b"x" * 3_000_000)).status_code == 413
    assert (await uploads.patch(good, token="ada")).status_code == 403
    uploads.agent.epoch = 1
    await uploads.patch(good)
    await uploads.server.system.logs.seal(uploads.agent.task_id, "success")
    closed = await uploads.patch(gap)
    assert (closed.status_code, closed.json()["status"]) == (410, "closed")
