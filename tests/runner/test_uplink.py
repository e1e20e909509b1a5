"""A spool arrives whole and once, whatever happens to the connection."""

import asyncio
import os
import random
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sluice.base.clock import SystemClock, to_micros
from sluice.base.errors import FencedError
from sluice.client.agent_api import AgentApi
from sluice.runner import uplink as uplink_module
from sluice.runner import uplink_carriers
from sluice.runner.job_spec import JobResult
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolLimits, SpoolWriter
from sluice.runner.status import StatusTree
from sluice.runner.uplink import Uplink
from sluice.runner.uplink_carriers import Carrier, Tokens
from sluice.wire.agent import LogPosition, PhaseOutcome
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.events import Gap, Note
from tests.runner.agent_server import FakeServer, order_for, until_async

CLOCK = SystemClock()


@pytest.fixture
def server():
    made = FakeServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(uplink_carriers, "LONGEST_DELAY", 0.3)
    monkeypatch.setattr(uplink_carriers, "PATCH_PROBE_SECONDS", 0.1)


class Job:
    """What a phase process does to the spool, without the process."""

    def __init__(self, phase: PhaseDir, **limits) -> None:
        self.phase = phase
        self.wake = phase.open_wake()
        self.written = b""
        made = SpoolLimits(**limits) if limits else None
        self.spool = SpoolWriter(phase.spool, clock=CLOCK, limits=made, wake=self.wake)

    def write(self, data: bytes, source: Source = Source.STDOUT) -> None:
        now = to_micros(CLOCK.now())
        self.spool.append([Chunk(0, 1, source, Kind.OUTPUT, now, data)])
        self.written += data

    def end(self) -> None:
        self.spool.close()
        self.phase.write_result(JobResult(outcome=PhaseOutcome.SUCCEEDED))
        os.write(self.wake, b"\0")
        os.close(self.wake)


class Setting:
    """One phase, its uplink and its carrier."""

    def __init__(self, server: FakeServer, api: AgentApi, root, **order) -> None:
        self.order = order_for(**order)
        self.server = server
        server.give(self.order)
        server.tokens.add("jwt")
        self.phase = PhaseDir(root / self.order.lease_id)
        self.phase.create(self.order)
        self.commands: list[str] = []
        self.api = api
        self.status = StatusTree(root / "status.json", CLOCK)

    def uplink(self) -> Uplink:
        return Uplink(
            self.phase, self.order.log, clock=CLOCK, on_command=self.commands.append
        )

    def carrier(self, task_token: str | None = None) -> Carrier:
        token = self.order.task_token if task_token is None else task_token
        tokens = Tokens(token, lambda: "jwt")
        node = self.status.node("uplink")
        ids = (self.order.task_id, self.order.lease_id)
        return Carrier(self.api, *ids, tokens, CLOCK, node)

    @asynccontextmanager
    async def uploading(self, **carrier):
        """The uplink running beside the test; it has ended well when this is left."""
        link = self.uplink()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.carrier(**carrier).run(link))
            yield link
            async with asyncio.timeout(30):
                await task
        link.close()

    @property
    def log(self):
        return self.server.log(self.order)

    @property
    def words(self) -> str:
        return str(self.status.snapshot()["loops"])


@pytest.fixture
async def setting(server, tmp_path):
    async with AgentApi(server.url) as api:
        yield Setting(server, api, tmp_path)


async def test_all_bytes_arrive_in_order_with_their_sources(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"one\n")
        job.write(b"bad\n", Source.STDERR)
        job.write(b"no newline")
        await until_async(lambda: setting.log.data == job.written)
        job.end()
    assert [chunk.source for chunk in setting.log.chunks][:2] == [
        Source.STDOUT,
        Source.STDERR,
    ]
    assert setting.log.head.next_line == 3


async def test_a_phase_goes_on_where_the_log_stands(server, tmp_path):
    async with AgentApi(server.url) as api:
        position = LogPosition(epoch=3, offset=1000, next_line=21)
        setting = Setting(server, api, tmp_path, log=position)
        job = Job(setting.phase)
        job.write(b"more\n")
        job.end()
        async with setting.uploading() as link:
            pass
        assert setting.log.head.committed == 1005
        assert setting.log.head.next_line == 22
        assert link.log_end().offset == 1005


async def test_first_byte_after_silence_goes_at_once(setting):
    setting.log.watched = True
    job = Job(setting.phase)
    async with setting.uploading():
        await until_async(lambda: setting.log.messages)
        delays = []
        for number in range(10):
            await asyncio.sleep(0.3)
            before = time.monotonic()
            job.write(b"line %d\n" % number)
            await until_async(lambda: setting.log.data == job.written)
            delays.append(setting.log.arrived[-1] - before)
        job.end()
    assert sorted(delays)[5] < 0.03, delays


async def test_watched_and_unwatched_rhythm(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"first\n")
        await until_async(lambda: setting.log.data == job.written)
        unwatched = setting.log.messages
        for _ in range(30):
            job.write(b"x" * 100 + b"\n")
            await asyncio.sleep(0.01)
        assert setting.log.messages - unwatched <= 2
        setting.log.watched = True
        await until_async(lambda: setting.log.data == job.written, seconds=0.5)
        before = setting.log.messages
        for _ in range(60):
            job.write(b"y" * 100 + b"\n")
            await asyncio.sleep(0.005)
        assert 5 <= setting.log.messages - before <= 50
        job.end()


async def test_the_end_does_not_wait_for_the_rhythm(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"first\n")
        await until_async(lambda: setting.log.data == job.written)
        job.write(b"last\n")
        before = time.monotonic()
        job.end()
    assert time.monotonic() - before < 0.6


async def test_a_large_backlog_is_sent_in_large_chunks(setting):
    job = Job(setting.phase, segment_bytes=1024 * 1024)
    rng = random.Random(4)
    for _ in range(400):
        job.write(rng.randbytes(rng.randint(1, 40_000)))
    job.end()
    async with setting.uploading() as link:
        pass
    assert setting.log.data == job.written
    assert len(setting.log.chunks) < 200
    assert max(len(chunk.data) for chunk in setting.log.chunks) <= 256 * 1024
    assert link.log_end().sha256 is not None


async def test_connections_that_die_lose_and_repeat_nothing(setting):
    setting.log.watched = True
    setting.server.knobs.close_after_messages = 3
    job = Job(setting.phase)
    async with setting.uploading():
        for number in range(60):
            job.write(b"%05d " % number * 300 + b"\n")
            await asyncio.sleep(0.005)
        job.end()
    assert setting.log.data == job.written
    assert setting.server.sockets > 3


async def test_a_server_that_comes_back_gets_the_rest(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"before\n")
        await until_async(lambda: setting.log.data == job.written)
        await asyncio.to_thread(setting.server.stop)
        for number in range(100):
            job.write(b"while away %d\n" % number)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(setting.server.start)
        await until_async(lambda: setting.log.data == job.written)
        job.write(b"after\n")
        job.end()
    assert setting.log.data == job.written


async def test_a_second_uplink_goes_on_from_what_was_acknowledged(setting):
    setting.log.watched = True
    job = Job(setting.phase, segment_bytes=64 * 1024, spool_bytes=1024 * 1024)
    for _ in range(40):
        link = setting.uplink()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(setting.carrier().run(link))
            for _ in range(5):
                job.write(os.urandom(8000).hex().encode() + b"\n")
            await asyncio.sleep(random.random() / 20)
            task.cancel()
        link.close()
    job.end()
    async with setting.uploading():
        pass
    assert setting.log.data == job.written


async def test_acknowledgements_that_were_lost_far_back_are_caught_up(setting):
    """The agent died before it saw the answers to 5 MB: nothing of that is sent again."""
    job = Job(setting.phase)
    for _ in range(100):
        job.write(os.urandom(50_000))
    setting.server.knobs.withhold_acks = False
    async with asyncio.TaskGroup() as group:
        link = setting.uplink()
        task = group.create_task(setting.carrier().run(link))
        await until_async(lambda: setting.log.head.committed == 5_000_000)
        task.cancel()
    link.close()
    (setting.phase.spool / "cursor").unlink()
    sent = setting.log.messages
    job.write(b"last")
    job.end()
    async with setting.uploading():
        pass
    assert setting.log.data == job.written
    assert setting.log.messages - sent <= 3


async def test_patch_carries_the_same_where_websockets_are_blocked(setting):
    setting.server.knobs.refuse_websocket = 10**6
    setting.log.watched = True
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"by patch\n")
        await until_async(lambda: setting.log.data == job.written)
        assert "blocked" in setting.words
        setting.log.command = "cancel"
        await until_async(lambda: setting.commands)
        job.end()
    assert setting.server.sockets == 0
    assert setting.commands[0] == "cancel"


async def test_websockets_that_die_before_a_word_lead_to_patch(setting):
    setting.server.knobs.close_early = 10**6
    job = Job(setting.phase)
    async with setting.uploading():
        job.write(b"still\n")
        await until_async(lambda: setting.log.data == job.written)
        job.end()
    assert setting.log.data == job.written


async def test_after_a_while_the_websocket_is_tried_again(setting, monkeypatch):
    monkeypatch.setattr(uplink_carriers, "PATCH_SECONDS", 0.2)
    setting.server.knobs.refuse_websocket = 1
    job = Job(setting.phase)
    async with setting.uploading():
        before = time.monotonic()
        await until_async(lambda: setting.log.messages)
        assert setting.server.sockets == 0
        await until_async(lambda: setting.server.sockets)
        assert 0.1 < time.monotonic() - before < 2
        job.write(b"x\n")
        job.end()
    assert setting.log.data == b"x\n"


async def test_a_command_comes_over_the_open_connection(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        await until_async(lambda: setting.log.messages)
        setting.log.command = "force_cancel"
        before = time.monotonic()
        await until_async(lambda: setting.commands)
        assert time.monotonic() - before < 0.5
        job.end()
    assert setting.commands[0] == "force_cancel"


async def fenced_because(setting: Setting, link: Uplink) -> str:
    """Why an upload was stopped for good."""
    try:
        async with asyncio.timeout(10):
            await setting.carrier().run(link)
    except FencedError as error:
        return error.detail
    finally:
        link.close()
    raise AssertionError("the upload ended well")


@pytest.mark.parametrize("blocked", [0, 10**6])
async def test_a_new_writer_of_the_log_stops_the_uplink(setting, blocked):
    setting.server.knobs.refuse_websocket = blocked
    Job(setting.phase).write(b"mine\n")
    setting.server.hand_over(setting.order)
    assert "another lease" in await fenced_because(setting, setting.uplink())
    assert setting.log.data == b""


async def test_a_server_that_lost_what_it_acknowledged_is_not_fed(setting):
    job = Job(setting.phase)
    job.write(b"mine\n")
    async with asyncio.TaskGroup() as group:
        upload = group.create_task(fenced_because(setting, setting.uplink()))
        await until_async(lambda: setting.log.data == b"mine\n")
        await asyncio.sleep(0.2)
        setting.log.head = replace(setting.log.head, committed=0)
        job.write(b"more\n")
    assert "had acknowledged" in upload.result()


async def test_a_refusal_is_borne_for_a_while_and_then_final(setting, monkeypatch):
    monkeypatch.setattr(uplink_carriers, "REFUSED_SECONDS", 0.5)
    setting.server.knobs.refuse_log_with = 404
    assert "refused the log" in await fenced_because(setting, setting.uplink())


async def test_the_agents_token_serves_where_the_tasks_is_refused(setting):
    setting.server.knobs.accept_task_token = False
    job = Job(setting.phase)
    job.write(b"x\n")
    job.end()
    async with setting.uploading():
        pass
    assert setting.log.data == b"x\n"


async def test_the_agents_token_serves_a_phase_that_was_taken_up(setting):
    job = Job(setting.phase)
    job.write(b"x\n")
    job.end()
    async with setting.uploading(task_token=""):
        pass
    assert setting.server.sockets == 1
    assert setting.log.data == b"x\n"


async def test_what_the_spool_had_to_drop_is_told_in_its_place(setting):
    job = Job(setting.phase, segment_bytes=16 * 1024, spool_bytes=96 * 1024)
    for number in range(100):
        job.write(b"%07d\n" % number * 512)
    job.end()
    async with setting.uploading() as link:
        pass
    gaps = [chunk.event for chunk in setting.log.chunks if isinstance(chunk.event, Gap)]
    assert gaps
    missing = sum(gap.missing_bytes for gap in gaps)
    kept = sum(len(c.data) for c in setting.log.chunks if c.kind is Kind.OUTPUT)
    assert kept + missing == len(job.written)
    assert setting.log.data.startswith(b"0000000\n")
    assert setting.log.data.endswith(b"0000099\n")
    assert link.log_end().sha256 is None


async def test_events_travel_with_their_meaning(setting):
    job = Job(setting.phase)
    job.write(b"half")
    job.spool.event(Note(actor="ann"), b"ann says\n")
    job.end()
    async with setting.uploading():
        pass
    assert setting.log.data == b"half\nann says\n"
    assert setting.log.chunks[-1].event == Note(actor="ann")


async def test_probes_do_not_wait_for_the_next_look(setting, monkeypatch):
    monkeypatch.setattr(uplink_module, "POLL_SECONDS", 600.0)
    monkeypatch.setattr(uplink_module, "LONGEST_POLL_SECONDS", 600.0)
    job = Job(setting.phase)
    link = setting.uplink()
    probes = asyncio.Event()
    said = []

    async def carry(message: bytes) -> None:
        said.append(message)
        if len(said) == 3:
            probes.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        talk = group.create_task(link.converse(carry, probe_seconds=0.1))
        await probes.wait()
        talk.cancel()
    assert len(set(said)) == 1
    link.close()
    job.end()


async def test_an_idle_phase_costs_next_to_nothing(setting):
    job = Job(setting.phase)
    async with setting.uploading():
        await until_async(lambda: setting.log.messages)
        thread_before = time.thread_time()
        await asyncio.sleep(5)
        spent = time.thread_time() - thread_before
        job.end()
    print(f"IDLE {spent / 5:.3%}")
    assert spent / 5 < 0.006, f"{spent / 5:.2%} of a core"


def test_settings_of_the_rhythm_are_what_the_design_says():
    assert uplink_module.POLL_SECONDS == 0.25
    assert uplink_carriers.FIRST_DELAY == 0.1
