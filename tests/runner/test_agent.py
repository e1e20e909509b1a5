"""The whole agent against a server on a loopback port, with real phase processes."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from sluice.base.errors import ConflictError, InvalidInputError, UnauthorizedError
from sluice.runner import phase_dir, register
from sluice.runner.agent import Agent, Left
from sluice.runner.settings import load_settings
from sluice.terraform.versions import parse_version
from sluice.wire.agent import Command, CommandType, PhaseName, PhaseOutcome
from sluice.wire.events import Note, StageBegin
from tests.runner.agent_server import (
    POOL_TOKEN,
    FakeServer,
    archive,
    order_for,
    until_async,
)

QUICK = 'resource "terraform_data" "one" { input = "hello" }\n'


def sleeping(seconds: float) -> str:
    """A configuration whose apply says something, sleeps, and says more."""
    script = f"for i in $(seq 1 {int(seconds * 10)}); do echo tick $i; sleep 0.1; done; echo re''sted"
    return (
        'resource "terraform_data" "first" { input = 1 }\n'
        'resource "terraform_data" "slow" {\n'
        "  depends_on = [terraform_data.first]\n"
        '  provisioner "local-exec" {\n'
        f"    command = {json.dumps(script)}\n"
        "  }\n}\n"
    )


@pytest.fixture
def server():
    made = FakeServer()
    made.configuration = archive({"main.tf": QUICK})
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(register, "LONGEST_DELAY", 0.3)


class Place:
    """One data directory, and the agents that run in it one after another."""

    def __init__(self, root: Path, server: FakeServer) -> None:
        self.root = root
        self.server = server
        self.left: Left | None = None

    def settings(self, **changes):
        given = {
            "url": self.server.url,
            "pool_token": POOL_TOKEN,
            "agent_name": "tests",
            "agent_data_dir": self.root / "agent",
            "agent_cache_dir": self.root / "cache",
            "agent_apply_grace_seconds": 20,
            "agent_plan_grace_seconds": 10,
            "terraform_mirror_url": f"{self.server.url}/no-mirror",
        }
        return load_settings(given | changes)

    @asynccontextmanager
    async def agent(self, *, leave: bool = False, **changes):
        """An agent beside the test; drained at the end unless it shall leave."""
        agent = Agent(self.settings(**changes))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(agent.run())
            try:
                yield agent
            finally:
                if leave:
                    agent.leave()
                elif not agent._drain.ending.is_set():
                    agent.drain()
            async with asyncio.timeout(60):
                self.left = await task

    @property
    def phases(self) -> list[Path]:
        return list((self.root / "agent" / "phases").iterdir())

    def status(self) -> dict:
        path = self.root / "agent" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {"loops": {}}

    def doing(self, loop: str) -> str:
        """What a loop says it does."""
        return self.status()["loops"].get(loop, {}).get("doing", "")

    async def finished(self, order, seconds: float = 60):
        """The result of a phase once it is reported."""
        await until_async(lambda: order.lease_id in self.server.results, seconds)
        return self.server.results[order.lease_id]

    async def talking(self, order, text: str, seconds: float = 30) -> None:
        """Wait until the log has a text."""
        log = self.server.log(order)
        await until_async(lambda: text in log.text(), seconds)

    def job_pid(self, order) -> int:
        phase = phase_dir.PhaseDir(self.root / "agent" / "phases" / order.lease_id)
        job = phase.read_pid()
        assert job is not None
        return job.pid

    async def planned(self, configuration: str) -> None:
        """Have a plan of a configuration made and stored, for applies."""
        self.server.configuration = archive({"main.tf": configuration})
        order = self.server.give(order_for())
        result = await self.finished(order)
        assert result.outcome is PhaseOutcome.SUCCEEDED, self.server.log(order).text()


@pytest.fixture
def place(tmp_path, server, terraform):
    made = Place(tmp_path, server)
    yield made
    for pid in (tmp_path / "agent").glob("phases/*/pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(json.loads(pid.read_text())["pid"], signal.SIGKILL)


# --- who the agent is ---------------------------------------------------------


async def test_registers_and_is_the_same_agent_after_a_restart(place, server):
    async with place.agent():
        await until_async(lambda: server.pings)
    async with place.agent():
        await until_async(lambda: len(server.registrations) == 2)
    first, second = server.registrations
    assert (first.agent_id, second.agent_id) == (None, "agent-1")
    assert first.name == "tests"
    assert "terraform" in first.capabilities


async def test_the_data_directory_has_a_name_that_tells_agents_apart(place, server):
    async with place.agent():
        await until_async(lambda: server.pings)
    async with place.agent():
        await until_async(lambda: len(server.registrations) == 2)
    names = {one.instance for one in (*server.registrations, *server.pings)}
    assert len(names) == 1
    assert names != {""}


async def test_an_identity_that_was_given_away_is_left(place, server):
    """The server says so to the ping; from then on the agent is who it is told to be."""
    async with place.agent():
        await until_async(lambda: server.pings)
        server.agent_id = "agent-2"
        server.tokens.clear()
        await until_async(lambda: server.pings[-1].agent_id == "agent-2")
        await until_async(lambda: place.status()["agent_id"] == "agent-2")
    kept = json.loads((place.root / "agent" / "agent.json").read_text())
    assert kept["agent_id"] == "agent-2"


async def test_a_version_that_does_not_fit_ends_the_agent_with_a_word(place, server):
    server.knobs.register_refusal = "too old"
    with pytest.raises(ConflictError, match=r"refuses this agent: .*too old"):
        await Agent(place.settings()).run()
    assert len(server.registrations) == 1


async def test_advice_is_logged_once_and_shown(place, server):
    server.advice = "Upgrade the agent to 1.4.0."
    with structlog.testing.capture_logs() as logged:
        async with place.agent():
            await until_async(lambda: len(server.pings) > 2)
            assert place.status()["advice"] == server.advice
            server.advice = ""
            await until_async(lambda: "advice" not in place.status())
    told = [one for one in logged if "advice" in one]
    assert [one["advice"] for one in told] == ["Upgrade the agent to 1.4.0."]


async def test_an_identity_is_not_taken_to_another_server(place, server):
    async with place.agent():
        await until_async(lambda: server.pings)
    other = FakeServer()
    other.start()
    async with place.agent(url=other.url):
        await until_async(lambda: other.registrations)
    other.stop()
    assert other.registrations[0].agent_id is None


async def test_a_server_that_is_not_ready_is_waited_for(place, server):
    server.knobs.register_failures = 3
    async with place.agent():
        await until_async(lambda: server.pings)


async def test_a_refused_pool_token_ends_the_agent_with_a_word(place):
    with pytest.raises(UnauthorizedError, match="pool token"):
        await Agent(place.settings(pool_token="wrong")).run()


async def test_without_a_pool_token_the_setting_is_named(place):
    with pytest.raises(InvalidInputError, match="SLUICE_POOL_TOKEN"):
        await Agent(place.settings(pool_token="")).run()


async def test_two_agents_do_not_share_a_data_directory(place, server):
    async with place.agent():
        await until_async(lambda: server.pings)
        with pytest.raises(ConflictError, match="SLUICE_AGENT_DATA_DIR"):
            await Agent(place.settings()).run()


async def test_an_agent_that_waits_for_the_server_can_be_ended(place, server):
    server.stop()
    async with place.agent():
        await asyncio.sleep(0.3)
    assert place.left == Left()


async def test_a_token_the_server_forgot_is_renewed(place, server):
    async with place.agent():
        await until_async(lambda: server.pings)
        server.tokens.clear()
        order = server.give(order_for())
        await place.finished(order)
    assert len(server.registrations) >= 2


# --- phases -------------------------------------------------------------------


async def test_a_plan_runs_and_its_log_arrives_whole(place, server):
    async with place.agent():
        order = server.give(order_for())
        result = await place.finished(order)
        await until_async(lambda: not place.phases)
    log = server.log(order)
    assert result.outcome is PhaseOutcome.SUCCEEDED, log.text()
    assert result.has_changes
    assert parse_version(result.engine_version).major >= 1
    assert result.log_end.offset == log.head.committed
    assert result.log_end.sha256 is not None
    stages = [
        c.event.stage.value for c in log.chunks if isinstance(c.event, StageBegin)
    ]
    assert stages == ["fetching", "init", "planning", "saving_plan"]
    assert "will be created" in log.text()
    assert server.started == [order.task_id]
    assert server.files["plan-file"]


async def test_pings_carry_leases_tasks_and_load(place, server):
    server.configuration = archive({"main.tf": sleeping(1)})
    async with place.agent():
        await place.planned(sleeping(2))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        count = len(server.pings)
        await until_async(lambda: len(server.pings) > count + 1)
        ping = server.pings[-1]
        assert ping.leases == [order.lease_id]
        assert ping.current_tasks == [order.task_id]
        assert ping.apply_task_running
        assert ping.busy
        assert ping.plan_task_limit == 3
        assert 0 < ping.mem_usage < 1
        pulls = len(server.pulls)
        await asyncio.sleep(0.5)
        assert len(server.pulls) == pulls, "pulled beside an apply"
        await place.finished(order)
    assert server.files["state"]


async def test_pings_carry_the_live_status_tree(place, server):
    async with place.agent():
        order = server.give(order_for())
        await until_async(
            lambda: any(
                f"phases/{order.task_id}" in ping.loops for ping in server.pings
            )
        )
        await place.finished(order)
        await until_async(lambda: "pull" in server.pings[-1].loops)
        pull = server.pings[-1].loops["pull"]
    assert pull.doing.startswith("waiting for work")
    assert pull.since


async def test_a_busy_machine_runs_fewer_plans_where_the_pool_says_so(place, server):
    calm = server.pool
    server.pool = calm.model_copy(
        update={"adaptive_concurrency": True, "mem_threshold": 0.0}
    )
    async with place.agent():
        await until_async(lambda: server.pings and server.pings[-1].plan_task_limit < 3)
        await until_async(lambda: server.pings[-1].plan_task_limit == 1)
        await until_async(lambda: server.pulls[-1].slots.plan == 1)
        server.pool = calm
        await until_async(lambda: server.pings[-1].plan_task_limit == 3)
        await until_async(lambda: server.pulls[-1].slots.plan == 3)
    limits = [ping.plan_task_limit for ping in server.pings]
    assert {2, 1} <= set(limits)


async def test_plans_run_beside_each_other_up_to_the_limit(place, server):
    async with place.agent(agent_plan_limit=2):
        orders = [server.give(order_for()) for _ in range(5)]
        for order in orders:
            result = await place.finished(order)
            assert result.outcome is PhaseOutcome.SUCCEEDED
    assert max(ping.plan_tasks_running for ping in server.pings) == 2
    assert max(pull.slots.plan for pull in server.pulls) == 2


@pytest.mark.parametrize("way", ["ping", "upload", "upload alone"])
async def test_a_cancel_stops_an_apply_at_a_safe_point(place, server, way):
    if way == "upload":
        server.ping_seconds = 60  # the reason comes by the ping that is sent at once
    async with place.agent():
        await place.planned(sleeping(30))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        command = Command(
            type=CommandType.CANCEL, task_id=order.task_id, reason="ann: enough"
        )
        if way != "upload alone":
            server.commands.append(command)
        if way != "ping":
            server.log(order).command = "cancel"
        result = await place.finished(order)
    assert result.outcome is PhaseOutcome.CANCELED
    assert "rested" not in server.log(order).text()
    assert b"terraform_data" in server.files["state"]
    if way != "upload alone":
        assert "ann: enough" in server.log(order).text()


async def test_no_engine_fails_the_phase_and_the_log_says_why(place, server):
    async with place.agent():
        order = server.give(order_for(terraform_version="0.0.1"))
        result = await place.finished(order)
    assert result.outcome is PhaseOutcome.FAILED
    assert "0.0.1" in result.error
    assert "404" in server.log(order).text()


async def test_a_cancel_ends_the_search_for_an_engine(place, server):
    hole = socket.create_server(("127.0.0.1", 0))  # connects, and never says a word
    port = hole.getsockname()[1]
    async with place.agent(terraform_mirror_url=f"http://127.0.0.1:{port}"):
        order = server.give(order_for(terraform_version="1.2.3"))
        await until_async(lambda: "downloading" in str(place.status()))
        command = Command(type=CommandType.CANCEL, task_id=order.task_id)
        server.commands.append(command)
        result = await place.finished(order)
    hole.close()
    assert result.outcome is not PhaseOutcome.SUCCEEDED


async def test_a_killed_phase_process_is_reported_with_its_state(place, server):
    async with place.agent():
        await place.planned(sleeping(30))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        os.kill(place.job_pid(order), signal.SIGKILL)
        result = await place.finished(order)
    log = server.log(order)
    assert result.outcome is PhaseOutcome.FAILED
    assert "was killed" in result.error
    assert "was killed" in log.text().splitlines()[-1]
    assert any(isinstance(c.event, Note) and c.event.error for c in log.chunks)
    assert "rested" not in log.text()
    assert b'"terraform_data"' in server.files["state"]
    assert not result.state_diverged


async def test_a_state_that_is_refused_stays_on_the_agent(place, server):
    server.knobs.state_status = 409
    async with place.agent():
        await place.planned(sleeping(30))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        os.kill(place.job_pid(order), signal.SIGKILL)
        result = await place.finished(order)
    assert result.state_diverged
    kept = list((place.root / "agent" / "state-kept").rglob("*.tfstate"))
    assert len(kept) == 1
    assert b"terraform_data" in kept[0].read_bytes()
    assert kept[0].stat().st_mode & 0o077 == 0


async def test_a_report_that_comes_before_the_log_is_made_again(place, server):
    server.knobs.finish_short = 2
    async with place.agent():
        order = server.give(order_for())
        result = await place.finished(order)
    assert result.outcome is PhaseOutcome.SUCCEEDED
    assert server.finish_calls == 3


async def test_a_fenced_plan_is_stopped_and_put_away(place, server):
    async with place.agent():
        order = server.give(order_for())
        server.hand_over(order)
        away = place.root / "agent" / "phases-fenced" / order.lease_id
        await until_async((away / "why.txt").exists)
        await until_async(lambda: not server.pings[-1].leases)
    assert not place.phases
    assert "another lease" in (away / "why.txt").read_text()
    assert not (away / "work").exists()
    assert order.lease_id not in server.results


async def test_status_tells_in_words_what_each_loop_does(place, server):
    async with place.agent():
        await until_async(lambda: "pinging every" in place.doing("ping"))
        told = place.status()
    assert told["agent_id"] == "agent-1"
    assert "pinging" in told["loops"]["ping"]["doing"]
    assert (
        told["loops"]["pull"]["doing"]
        == "waiting for work: room for 3 plans and an apply"
    )


# --- stopping -----------------------------------------------------------------


async def test_draining_lets_what_runs_end_and_pulls_nothing_more(place, server):
    async with place.agent() as agent:
        await place.planned(sleeping(2))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        agent.drain()
        late = server.give(order_for())
    assert place.left == Left()
    assert server.results[order.lease_id].outcome is PhaseOutcome.SUCCEEDED
    assert late in server.queue
    assert server.pings[-1].draining


async def test_an_idle_agent_leaves_at_once(place, server):
    async with asyncio.timeout(5), place.agent() as agent:
        await until_async(lambda: server.pulls)
        agent.drain()
    assert place.left == Left()
    assert server.pings[-1].draining


async def test_the_server_can_drain_and_resume_an_agent(place, server):
    async with place.agent():
        await until_async(lambda: server.pulls)
        server.commands.append(Command(type=CommandType.DRAIN))
        await until_async(lambda: any(ping.draining for ping in server.pings))
        await until_async(
            lambda: "draining" in place.status()["loops"]["pull"]["doing"]
        )
        server.commands.append(Command(type=CommandType.RESUME))
        order = server.give(order_for())
        await place.finished(order)


async def test_an_order_is_heard_over_the_open_poll(place, server):
    server.ping_seconds = 3600
    async with place.agent():
        await until_async(lambda: server.pulls)
        await until_async(lambda: server.pings)
        server.commands.append(Command(type=CommandType.DRAIN, reason="ann: a disk"))
        server.nudge = True
        await until_async(lambda: "ann: a disk" in place.doing("pull"))
        await until_async(lambda: len(server.pings) == 3)
        assert place.status()["draining"] == "draining: ann: a disk"
    draining = [ping.draining for ping in server.pings]
    # at the start, when it was told to, to say that it does, and at the end
    assert draining == [False, False, True, True]


async def test_orders_are_heard_over_an_open_upload_and_leave_the_phase_alone(
    place, server
):
    server.ping_seconds = 3600
    async with place.agent():
        await place.planned(sleeping(4))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
        server.commands.append(Command(type=CommandType.DRAIN))
        server.log(order).nudge = True
        await until_async(lambda: "draining" in place.doing("pull"))
        server.commands.append(Command(type=CommandType.RESUME))
        server.log(order).nudge = True
        await until_async(
            lambda: place.doing("pull") == "not pulling: all slots are taken"
        )
        result = await place.finished(order)
    assert result.outcome is PhaseOutcome.SUCCEEDED
    assert "rested" in server.log(order).text()


async def test_a_poll_that_says_ping_does_not_spin_while_pings_fail(place, server):
    server.ping_seconds = 3600
    async with place.agent():
        await until_async(lambda: server.pulls)
        await until_async(lambda: server.pings)
        server.knobs.fail_ping = 10**6
        server.nudge = True
        await until_async(lambda: not server.nudge)
        count = len(server.pulls)
        await asyncio.sleep(0.5)
        assert len(server.pulls) <= count + 2
        server.knobs.fail_ping = 0
        await place.finished(server.give(order_for()))


async def test_a_drain_that_takes_too_long_leaves_phases_running(place, server):
    async with place.agent(agent_drain_seconds=0.5):
        await place.planned(sleeping(4))
        order = server.give(order_for(PhaseName.APPLY))
        await place.talking(order, "tick 3")
    assert place.left == Left((order.task_id,))
    async with place.agent():
        result = await place.finished(order)
    assert result.outcome is PhaseOutcome.SUCCEEDED
    assert "rested" in server.log(order).text()
