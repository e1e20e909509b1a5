"""Lines that were captured before the lease ended reach the server, whatever comes between."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluice.base.clock import SystemClock
from sluice.client.agent_api import AgentApi
from sluice.runner import late_output
from sluice.runner.backoff import Backoff
from sluice.runner.late_output import deliver_late
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolLimits, SpoolReader, SpoolWriter
from sluice.wire.agent import (
    PhaseName,
    PhaseOrder,
    RegisterRequest,
    ScriptOrder,
)
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk
from sluice.wire.log_flow import AckStatus
from tests.runner.agent_server import (
    POOL_TOKEN,
    PREFIX,
    FakeServer,
    order_for,
    until_async,
)
from tests.runner.test_agent import Place


@pytest.fixture
def server():
    made = FakeServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(late_output, "Backoff", lambda *_: Backoff(0.01, 0.02))


@dataclass
class Left:
    """A phase on disk whose upload stopped somewhere, and an agent's way to the server."""

    server: FakeServer
    place: Any
    phase: PhaseDir
    order: PhaseOrder

    def write(self, *lines: str, segment: int = 1 << 20, after: float = 0) -> None:
        clock = SystemClock()
        wake = self.phase.open_wake()
        writer = SpoolWriter(
            self.phase.spool,
            clock=clock,
            limits=SpoolLimits(1 << 24, segment),
            wake=wake,
        )
        for line in lines:
            data = f"{line}\n".encode()
            now = int((clock.now().timestamp() + after) * 1e6)
            writer.append([Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, now, data)])
        writer.close()

    def upload(self, size: int) -> None:
        """The first bytes reach the server as long as the lease lasts."""
        reader = SpoolReader(self.phase.spool, self.order.log)
        reader.refresh()
        chunks = reader.read(size)
        reader.close()
        message = PREFIX.pack(1, 0) + b"".join(map(encode_chunk, chunks))
        assert self.server.log(self.order).take(message).status is AckStatus.OK

    async def deliver(self) -> bytes:
        await deliver_late(self.place, self.phase, self.order)
        return self.server.late.get(self.order.lease_id, b"")


@pytest.fixture
async def left(server, tmp_path: Path):
    order = server.give(order_for(PhaseName.SCRIPT))
    phase = PhaseDir(tmp_path / "phases" / order.lease_id)
    phase.create(order)
    async with AgentApi(server.url) as api:
        request = RegisterRequest(name="tests", version="0.1")
        answer = await api.register(POOL_TOKEN, request)
        session = SimpleNamespace(token=answer.token, agent_id=answer.agent_id)
        yield Left(server, SimpleNamespace(api=api, session=session), phase, order)


async def test_the_rest_is_delivered_and_nothing_twice(left: Left) -> None:
    left.write("one", "two", "three")
    left.upload(4)
    left.server.hand_over(left.order)
    assert await left.deliver() == b"two\nthree\n"
    assert await left.deliver() == b"two\nthree\n"


async def test_what_was_stored_but_not_acknowledged_is_not_sent_again(
    left: Left,
) -> None:
    """The server's place counts, not the agent's."""
    left.write("one", "two")
    left.upload(100)
    left.server.hand_over(left.order)
    assert await left.deliver() == b""


async def test_lines_from_behind_the_end_stay_on_the_agent(left: Left) -> None:
    left.write("one")
    left.server.hand_over(left.order)
    left.write("late", after=10)
    assert await left.deliver() == b"one\n"


async def test_a_long_rest_goes_in_many_messages(left: Left, monkeypatch) -> None:
    monkeypatch.setattr(late_output, "MESSAGE_BYTES", 1000)
    lines = [f"{number:05d} " + "x" * 90 for number in range(400)]
    left.write(*lines, segment=8000)
    left.upload(500)
    left.server.hand_over(left.order)
    whole = "".join(f"{line}\n" for line in lines).encode()
    assert await left.deliver() == whole[len(left.server.log(left.order).data) :]


async def test_a_server_that_is_away_is_tried_for_a_while(left: Left) -> None:
    left.write("one")
    left.server.hand_over(left.order)
    left.server.knobs.refuse_late_with = 503
    assert await left.deliver() == b""
    assert left.server.knobs.late_refusals == late_output.TRIES
    left.server.knobs.refuse_late_with = 0
    assert await left.deliver() == b"one\n"


async def test_a_server_that_refuses_is_not_asked_again(left: Left) -> None:
    left.write("one")
    left.server.hand_over(left.order)
    left.server.knobs.refuse_late_with = 404
    assert await left.deliver() == b""
    assert left.server.knobs.late_refusals == 1


async def test_without_a_spool_there_is_nothing_to_deliver(left: Left) -> None:
    left.server.hand_over(left.order)
    left.server.ended[left.order.lease_id] = (500, 1)
    assert await left.deliver() == b""


async def test_a_fenced_agent_delivers_and_puts_the_phase_away(
    server: FakeServer, tmp_path: Path
) -> None:
    """Cut off while the script talks, fenced meanwhile: nothing it had said is lost."""
    place = Place(tmp_path, server)
    script = ScriptOrder(
        name="talk",
        interpreter=["sh"],
        body="echo first\nsleep 2\necho second\nsleep 60\n",
    )
    async with place.agent(leave=True):
        order = server.give(order_for(PhaseName.SCRIPT, script=script))
        await place.talking(order, "first")
        server.stop()
        spool = tmp_path / "agent" / "phases" / order.lease_id / "spool"

        def said() -> bool:
            return any(b"second" in f.read_bytes() for f in spool.glob("seg-*"))

        await until_async(said, 30)
        server.hand_over(order)
        server.start()
        fenced = tmp_path / "agent" / "phases-fenced" / order.lease_id
        await until_async(fenced.exists, 60)
    assert b"second\n" in server.late[order.lease_id]
    assert "second" not in server.log(order).text()
    assert (fenced / "why.txt").exists()
