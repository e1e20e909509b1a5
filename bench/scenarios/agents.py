"""Scenario 9: what 200 agents that wait for work cost the server, idle and with some work."""

import asyncio
import contextlib
import hashlib
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from bench.measure import median, percentile, spread
from bench.report import Report
from sluice.base.errors import SluiceError
from sluice.client.agent_api import AgentApi, tls_of
from sluice.server.commands import run_loop
from sluice.wire.agent import (
    LogEnd,
    PhaseOrder,
    PhaseOutcome,
    PhaseResult,
    PingRequest,
    PullRequest,
    RegisterRequest,
    RegisterResponse,
    Slots,
    StartedReport,
)
from tests.e2e.stack import Stack

LIMIT = 1.0
AGENTS = 200
PING_SECONDS = 10.0
PULL_SECONDS = 30.0
WARM_SECONDS = 12.0
MEASURED_SECONDS = 30.0
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass
class _Crowd:
    """What the simulated agents have in common, and what they saw."""

    stack: Stack
    pool_token: str
    created: dict[str, float] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)
    ended: int = 0
    pulls: int = 0
    pings: int = 0
    failures: int = 0


def tell(report: Report) -> None:
    """Print the figures beside their targets."""
    found = report.run(idle=idle, busy=busy)
    for name, words in (("idle", "without work"), ("busy", "with 5 plans a second")):
        cores = found[name]["cores"]
        what = f"9 200 agents {words}: server CPU, cores"
        report.most(what, cores, LIMIT, 2)
        report.row(f"{what}, ratio to the limit", f"{median(cores) / LIMIT:.2f}")
        failed = int(sum(found[name]["failures"]))
        what = f"9 200 agents {words}: failed requests"
        report.row(what, str(failed), "0", met=failed == 0)
    figures = found["busy"]
    report.row("9 plans done by 200 agents, per s", spread(figures["tasks_per_s"]))
    report.row("9 from request to agent, p50 ms", spread(figures["pickup_p50_ms"]))
    report.row("9 from request to agent, p99 ms", spread(figures["pickup_p99_ms"]))


def idle() -> dict[str, float]:
    """CPU of the server while nobody has work for 200 agents."""
    return _run(0.0)


def busy() -> dict[str, float]:
    """The same with 5 new plans a second, taken, reported and archived."""
    return _run(5.0)


def _run(tasks_per_second: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sluice-crowd-") as name:
        stack = Stack(Path(name), SLUICE_LOG_LEVEL="warning")
        try:
            stack.start_server()
            workspace = stack.workspace("bench")["id"]
            stack.upload(workspace, {"main.tf": "# nothing\n"})
            pool = stack.get(f"/organizations/{stack.organization}/pools")[0]["id"]
            token = stack.post(f"/pools/{pool}/tokens", {"name": "bench"})["token"]
            return run_loop(
                _measured(_Crowd(stack, token), workspace, tasks_per_second)
            )
        finally:
            stack.close()


async def _measured(
    crowd: _Crowd, workspace: str, tasks_per_second: float
) -> dict[str, float]:
    tls = tls_of(None)
    work = [
        _agent(crowd, AgentApi(crowd.stack.url, tls=tls, version="0.1.0"), number)
        for number in range(AGENTS)
    ]
    if tasks_per_second:
        work.append(_trickle(crowd, workspace, 1 / tasks_per_second))
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one) for one in work]
        await asyncio.sleep(WARM_SECONDS)
        first, begun = _figures(crowd), time.monotonic()
        await asyncio.sleep(MEASURED_SECONDS)
        last, seconds = _figures(crowd), time.monotonic() - begun
        for task in running:
            task.cancel()
    rates = {name: (last[name] - first[name]) / seconds for name in first}
    pickup_ms = [
        (at - crowd.created[task_id]) * 1000
        for task_id, at in crowd.taken.items()
        if crowd.created.get(task_id, 0.0) >= begun
    ]
    return rates | {
        "pickup_p50_ms": percentile(pickup_ms, 0.5),
        "pickup_p99_ms": percentile(pickup_ms, 0.99),
        "failures": crowd.failures,
    }


def _figures(crowd: _Crowd) -> dict[str, float]:
    """What only grows: the server's CPU seconds, and what the agents did."""
    assert crowd.stack.server is not None
    times = psutil.Process(crowd.stack.server.child.pid).cpu_times()
    return {
        "cores": times.user + times.system,
        "pings_per_s": crowd.pings,
        "pulls_per_s": crowd.pulls,
        "tasks_per_s": crowd.ended,
    }


async def _agent(crowd: _Crowd, api: AgentApi, number: int) -> None:
    """Registers, then pulls and pings until it is cancelled."""
    async with api:
        # as agents come after a restart of the server: not all in one moment
        await asyncio.sleep(number * WARM_SECONDS / 3 / AGENTS)
        me = await api.register(
            crowd.pool_token, RegisterRequest(name=f"bench-{number}", version="0.1.0")
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(_pings(crowd, api, me))
            group.create_task(_pulls(crowd, api, me))


async def _pings(crowd: _Crowd, api: AgentApi, me: RegisterResponse) -> None:
    await asyncio.sleep(random.uniform(0, PING_SECONDS))
    while True:
        said = PingRequest(
            agent_id=me.agent_id,
            busy=False,
            plan_task_limit=me.pool.max_plan_concurrency,
            cpu_usage=0.1,
            mem_usage=0.2,
            version="0.1.0",
        )
        with _counted(crowd):
            await api.ping(me.token, said)
            crowd.pings += 1
        await asyncio.sleep(PING_SECONDS)


async def _pulls(crowd: _Crowd, api: AgentApi, me: RegisterResponse) -> None:
    slots = Slots(plan=me.pool.max_plan_concurrency, apply=1)
    request = PullRequest(slots=slots, wait_seconds=PULL_SECONDS)
    while True:
        with _counted(crowd):
            order = (await api.pull(me.token, me.agent_id, request)).order
            crowd.pulls += 1
            if order is not None:
                crowd.taken[order.task_id] = time.monotonic()
                await _work(api, me, order)
                crowd.ended += 1


async def _work(api: AgentApi, me: RegisterResponse, order: PhaseOrder) -> None:
    """A plan that says nothing and finds nothing to change."""
    token, task_id = me.token, order.task_id
    await api.started(
        token, me.agent_id, task_id, StartedReport(lease_id=order.lease_id)
    )
    end = LogEnd(
        offset=order.log.offset, next_line=order.log.next_line, sha256=_NOTHING
    )
    result = PhaseResult(
        lease_id=order.lease_id,
        outcome=PhaseOutcome.SUCCEEDED,
        has_changes=False,
        log_end=end,
    )
    await api.finish(token, me.agent_id, task_id, result)


@contextlib.contextmanager
def _counted(crowd: _Crowd) -> Iterator[None]:
    """Errors are figures, too."""
    try:
        yield
    except SluiceError:
        crowd.failures += 1


async def _trickle(crowd: _Crowd, workspace: str, pause: float) -> None:
    """A new plan every ``pause`` seconds, however long the server takes for one."""
    async with (
        httpx2.AsyncClient(
            base_url=f"{crowd.stack.url}/api/v1",
            headers=crowd.stack.headers,
            timeout=30,
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        while True:
            group.create_task(_create(crowd, client, workspace))
            await asyncio.sleep(pause)


async def _create(crowd: _Crowd, client: httpx2.AsyncClient, workspace: str) -> None:
    begun = time.monotonic()
    answer = await client.post(
        f"/workspaces/{workspace}/tasks", json={"task_type": "plan"}
    )
    crowd.created[answer.json()["id"]] = begun
