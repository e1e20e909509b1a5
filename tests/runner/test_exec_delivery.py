"""What a run leaves in its spool reaches the server whole and once, whatever the server says."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from typing_extensions import override

from sluice.base.clock import SystemClock, to_micros
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi
from sluice.runner import exec_delivery, uplink_carriers
from sluice.runner.exec_deliver import deliver
from sluice.runner.exec_delivery import Address, Delivery, request_of
from sluice.runner.exec_dir import ExecDir, RunRecord, found_runs, new_exec_dir
from sluice.runner.exec_script import Kept
from sluice.runner.exec_settings import ExecSettings
from sluice.runner.job_spec import JobResult
from sluice.runner.spool import SpoolLimits, SpoolReader
from sluice.runner.uplink import Rhythm
from sluice.wire.agent import LogPosition, PhaseName, PhaseOutcome
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.events import Note
from sluice.wire.exec import ExecRequest, ExecResponse
from tests.runner.agent_server import FakeServer, order_for, problem, reply, until_async

CLOCK = SystemClock()
USER_TOKEN = "user-token"


class ExecServer(FakeServer):
    """The agents' server with runs outside agents; each begin gives a token of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[ExecRequest] = []
        self.organizations: list[str] = []
        self.refuse_begin: list[int] = []
        self.task_tokens: list[str] = []

    @override
    def _app(self) -> Starlette:
        app = super()._app()
        path = "/api/v1/tasks/{task_id}/exec"
        app.router.routes.insert(0, Route(path, self._begin, methods=["POST"]))
        return app

    async def _begin(self, request):
        if request.headers["authorization"] != f"Bearer {USER_TOKEN}":
            return problem(401, "unauthorized")
        if self.refuse_begin:
            return problem(self.refuse_begin.pop(0), "")
        wanted = ExecRequest.model_validate_json(await request.body())
        self.begun.append(wanted)
        self.organizations.append(request.query_params.get("organization", ""))
        task_id = request.path_params["task_id"]
        known = [one for one in self.orders.values() if one.task_id == task_id]
        order = (
            known[0]
            if known
            else self.give(order_for(PhaseName.SCRIPT, task_id=task_id))
        )
        token = f"task-token-{len(self.task_tokens)}"
        self.task_tokens.append(token)
        return reply(
            ExecResponse(
                task_id=task_id,
                agent_id="exec-1",
                lease_id=order.lease_id,
                lease_seconds=60,
                task_token=token,
                log=order.log,
            )
        )

    @override
    def _is_task(self, connection, task_id: str) -> bool:
        """The latest token alone counts."""
        given = connection.headers.get("authorization", "")
        return bool(self.task_tokens) and given == f"Bearer {self.task_tokens[-1]}"

    def expire_token(self) -> None:
        self.task_tokens.append("nobody has this one")


@pytest.fixture
def server():
    made = ExecServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(uplink_carriers, "LONGEST_DELAY", 0.3)
    monkeypatch.setattr(uplink_carriers, "PATCH_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(exec_delivery, "LONGEST_DELAY", 0.3)


class Run:
    """A script's side of a run, without the script."""

    def __init__(self, root: Path, url: str, *, run_id: str = "run-1") -> None:
        made = new_exec_dir(run_id, lasting=root, passing=[])
        assert made is not None
        self.dir: ExecDir = made
        self.record = RunRecord(
            task_id="task-7", run_id=run_id, url=url, name="a script", process_id=77
        )
        self.dir.write_record(self.record)
        self.kept = Kept(
            self.dir, self.record, output=True, limits=SpoolLimits(), clock=CLOCK
        )
        self.written = b""

    def write(self, data: bytes) -> None:
        now = to_micros(CLOCK.now())
        chunk = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, now, data)
        self.kept.spool.append([chunk])
        self.written += data

    def end(self, code: int = 0) -> None:
        outcome = PhaseOutcome.FAILED if code else PhaseOutcome.SUCCEEDED
        self.kept.close(JobResult(outcome=outcome, exit_code=code))


@contextlib.asynccontextmanager
async def delivering(run: Run, url: str, *, rhythm: Rhythm | None = None, **more):
    """A delivery beside the test; it is ended when this is left."""
    async with AgentApi(url) as api:
        delivery = Delivery(
            run.dir,
            Address(api, USER_TOKEN),
            clock=CLOCK,
            on_command=more.get("on_command", lambda _: None),
            rhythm=rhythm or Rhythm(),
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(delivery.run())
            yield delivery, task
            task.cancel()


async def done(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        await task


def log_of(server: ExecServer):
    (log,) = server.logs.values()
    return log


def result_of(server: ExecServer):
    (result,) = server.results.values()
    return result


async def test_a_run_is_begun_uploaded_and_finished(server, tmp_path):
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url) as (delivery, task):
        run.write(b"one\n")
        await until_async(lambda: server.logs and log_of(server).data == b"one\n")
        run.write(b"two\n" * 50_000)
        run.end(3)
        await done(task)
    assert log_of(server).data == run.written
    assert (result_of(server).exit_code, result_of(server).outcome) == (3, "failed")
    assert delivery.refused is False
    begun = server.begun[0]
    assert (begun.run_id, begun.name, begun.process_id) == ("run-1", "a script", 77)
    assert server.organizations == [""]


async def test_the_server_comes_late(server, tmp_path):
    server.stop()
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url) as (delivery, task):
        run.write(b"one\n")
        run.end()
        await until_async(lambda: delivery.problem)
        assert "no answer from" in delivery.problem
        assert not delivery.refused
        server.start()
        await done(task)
    assert log_of(server).data == b"one\n"


async def test_a_refusal_is_told_and_tried_again(server, tmp_path):
    server.refuse_begin = [409, 409, 500, 409]
    run = Run(tmp_path, server.url)
    run.write(b"one\n")
    run.end()
    async with delivering(run, server.url) as (delivery, task):
        await until_async(lambda: delivery.refused)
        await done(task)
    assert log_of(server).data == b"one\n"


async def test_a_token_that_is_refused_is_replaced(server, tmp_path):
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url) as (_, task):
        run.write(b"one\n")
        await until_async(lambda: server.logs and log_of(server).data)
        server.expire_token()
        server.knobs.close_after_messages = 1  # so that the connection is made anew
        run.write(b"two\n")
        await until_async(lambda: len(server.begun) > 1)
        server.knobs.close_after_messages = 0
        run.end()
        await done(task)
    assert log_of(server).data == b"one\ntwo\n"
    assert {one.run_id for one in server.begun} == {"run-1"}


async def test_the_end_is_reported_with_a_fresh_token(server, tmp_path, monkeypatch):
    """A token may end between the last byte and the report."""
    whole = ExecServer._finish

    async def finish(self, request):
        task_id = request.path_params["task_id"]
        if not self._is_task(request, task_id):
            return problem(401, "unauthorized")
        if not self.finish_calls:
            self.finish_calls = 1
            self.expire_token()
            return problem(401, "unauthorized")
        return await whole(self, request)

    monkeypatch.setattr(ExecServer, "_finish", finish)
    server.stop()
    server.start()
    run = Run(tmp_path, server.url)
    run.write(b"one\n")
    run.end()
    async with delivering(run, server.url) as (_, task):
        await done(task)
    assert result_of(server).exit_code == 0
    assert len(server.begun) == 2


async def test_silence_is_broken_by_probes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(exec_delivery, "PROBE_SECONDS", 0.2)
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url) as (_, task):
        await until_async(lambda: server.logs and log_of(server).messages >= 5)
        assert log_of(server).data == b""
        assert server.sockets == 1
        run.end()
        await done(task)


async def test_a_cancel_reaches_the_script(server, tmp_path):
    heard: list[str] = []
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url, on_command=heard.append) as (_, task):
        await until_async(lambda: server.logs and server.sockets)
        log_of(server).command = "cancel"
        await until_async(lambda: heard)
        run.end(130)
        await done(task)
    assert heard[0] == "cancel"


async def test_blocked_websockets_go_by_patch(server, tmp_path):
    server.knobs.refuse_websocket = -1
    run = Run(tmp_path, server.url)
    run.write(b"one\n" * 10_000)
    run.end()
    async with delivering(run, server.url) as (_, task):
        await done(task)
    assert log_of(server).data == run.written


async def test_the_report_of_a_short_log_is_sent_again(server, tmp_path):
    server.knobs.finish_short = 2
    run = Run(tmp_path, server.url)
    run.write(b"one\n")
    run.end()
    async with delivering(run, server.url) as (_, task):
        await done(task)
    assert server.finish_calls == 3


async def test_nothing_is_lost_when_it_is_cut_off_and_begun_again(server, tmp_path):
    run = Run(tmp_path, server.url)
    for number in range(5):
        async with delivering(run, server.url):
            run.write(b"line %d\n" % number * 2000)
            await until_async(lambda: server.logs and log_of(server).data)
    run.end()
    async with delivering(run, server.url) as (_, task):
        await done(task)
    assert log_of(server).data == run.written


# --- the rhythm ----------------------------------------------------------------


async def test_a_full_batch_does_not_wait_for_the_interval(server, tmp_path):
    rhythm = Rhythm(seconds=600, lines=10)
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url, rhythm=rhythm) as (_, task):
        run.write(b"first\n")
        await until_async(lambda: server.logs and log_of(server).data == b"first\n")
        run.write(b"few\n" * 9)
        await asyncio.sleep(1.0)
        assert log_of(server).data == b"first\n"
        run.write(b"last\n")
        await until_async(lambda: log_of(server).data == run.written)
        run.end()
        await done(task)


async def test_somebody_watching_makes_it_fast(server, tmp_path):
    rhythm = Rhythm(seconds=600, lines=1000)
    run = Run(tmp_path, server.url)
    async with delivering(run, server.url, rhythm=rhythm) as (_, task):
        run.write(b"first\n")
        await until_async(lambda: server.logs and log_of(server).data == b"first\n")
        run.write(b"second\n")
        log_of(server).watched = True
        await until_async(lambda: log_of(server).data == run.written)
        run.end()
        await done(task)


async def test_few_lines_are_held_in_memory_and_all_arrive(server, tmp_path):
    run = Run(tmp_path, server.url)
    for number in range(30_000):
        run.write(b"line %d\n" % number)
    run.end()
    base = LogPosition(epoch=1, offset=0, next_line=1)
    reader = SpoolReader(run.dir.phase.spool, base, held_lines=100)
    reader.refresh()
    assert 100 <= reader.held_lines < 3000
    reader.read(1_000_000)
    assert reader.held_lines == 0
    reader.close()
    async with delivering(run, server.url, rhythm=Rhythm(held_lines=100)) as (_, task):
        await done(task)
    assert log_of(server).data == run.written


# --- delivering later ----------------------------------------------------------


def settings(server: ExecServer, **more) -> ExecSettings:
    return ExecSettings.model_validate(
        {"url": server.url, "token": USER_TOKEN, "drain_timeout": 30, **more}
    )


async def test_all_runs_of_a_directory_are_delivered(server, tmp_path):
    for number in range(3):
        run = Run(tmp_path, server.url, run_id=f"run-{number}")
        record = run.record.model_copy(update={"task_id": f"task-{number}"})
        run.dir.write_record(record)
        run.write(b"of %d\n" % number)
        run.end(number)
    assert await deliver(tmp_path, settings(server)) == ["task-0", "task-1", "task-2"]
    assert {key: log.data for key, log in server.logs.items()} == {
        "task-0": b"of 0\n",
        "task-1": b"of 1\n",
        "task-2": b"of 2\n",
    }
    with pytest.raises(InvalidInputError, match="holds no run"):
        found_runs(tmp_path)


async def test_a_killed_runner_is_reported_as_failed(server, tmp_path):
    run = Run(tmp_path, server.url)
    run.write(b"before\nhalf a li")
    await deliver(run.dir.root, settings(server))
    result = result_of(server)
    assert (result.outcome, result.exit_code) == (PhaseOutcome.FAILED, None)
    assert "The runner was killed before the script ended" in result.error
    assert log_of(server).text().startswith("before\nhalf a li\n")
    assert isinstance(log_of(server).chunks[-1].event, Note)
    assert not run.dir.root.exists()


async def test_an_end_that_was_reported_before_is_not_missed(server, tmp_path):
    """The answer to the report was lost, and the log is the server's since."""
    run = Run(tmp_path, server.url)
    run.write(b"one\n")
    run.end()
    async with delivering(run, server.url) as (_, task):
        await done(task)
    (order,) = server.orders.values()
    server.hand_over(order)
    assert await deliver(run.dir.root, settings(server)) == ["task-7"]
    assert log_of(server).data == b"one\n"


async def test_a_run_that_goes_on_is_left_alone(server, tmp_path):
    run = Run(tmp_path, server.url)
    lock = run.dir.lock()
    with pytest.raises(ConflictError, match="still runs"):
        await deliver(run.dir.root, settings(server))
    os.close(lock)
    assert not server.begun


@pytest.mark.parametrize(
    ("more", "refusals", "error"),
    [
        ({"token": "wrong"}, [], UnauthorizedError),
        ({"drain_timeout": 30}, [409] * 1000, ConflictError),
        ({"url": "http://127.0.0.1:9", "drain_timeout": 1}, [], SluiceError),
    ],
    ids=["token", "conflict", "away"],
)
async def test_what_is_not_delivered_stays(server, tmp_path, more, refusals, error):
    server.refuse_begin = list(refusals)
    run = Run(tmp_path, server.url)
    run.write(b"one\n")
    run.end()
    with pytest.raises(error):
        await deliver(run.dir.root, settings(server, **more))
    assert run.dir.root.exists()
    server.refuse_begin = []
    assert await deliver(run.dir.root, settings(server)) == ["task-7"]


async def test_a_directory_without_a_run_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="holds no run"):
        await deliver(tmp_path / "nothing", ExecSettings())
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "wake").touch()
    with pytest.raises(InvalidInputError, match="that can be read"):
        await deliver(tmp_path, ExecSettings())


def test_what_no_database_stores_is_replaced_in_a_request():
    record = RunRecord(task_id="t", run_id="r", url="", name="a\0b", host="h" * 999)
    request = request_of(record)
    assert request.name == "a\N{REPLACEMENT CHARACTER}b"
    assert len(request.host) == 255
