"""A real agent process is drained and resumed by a real server, over connections that are open."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sluice.base.ids import OrganizationId
from sluice.tasks.actions import start_script
from sluice.tasks.model import ScriptFacts
from sluice.wire.agent import ScriptOrder
from tests.agents.house import House

PATIENCE = 50.0
RARELY = 3600.0
"""Seconds between pings: whatever an agent hears sooner, it heard over something else."""


@dataclass
class Worker:
    """The agent process, and what it says of itself on its own disk."""

    house: House
    data: Path
    id: str

    def doing(self, loop: str) -> str:
        loops = json.loads((self.data / "status.json").read_text())["loops"]
        return str(loops.get(loop, {}).get("doing", ""))

    async def ask(self, verb: str, reason: str) -> Any:
        path = f"/agents/{self.id}/{verb}"
        return await self.house.admin.post(path, {"reason": reason})

    async def script(self, body: str) -> str:
        """A script for this agent's pool."""
        (pool,) = await self.house.admin.get("/organizations/acme/pools")
        task = await start_script(
            self.house.serving.concepts.tasks,
            organization_id=OrganizationId(pool["organization_id"]),
            script=ScriptOrder(name="s", interpreter=["/bin/sh"], body=body),
            facts=ScriptFacts(name="s"),
            pool_id=pool["id"],
            labels={},
            actor="ann",
        )
        return task.id

    async def status(self, task_id: str) -> str:
        return str((await self.house.admin.get(f"/tasks/{task_id}"))["status"])

    async def reaches(self, task_id: str, status: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.status(task_id) != status:
                await asyncio.sleep(0.05)


async def until(probe: Callable[[], object]) -> None:
    """Wait until something is so; a file that is not there yet says no."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if probe():
                    return
            except FileNotFoundError:
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def agent_process(house: House, root: Path) -> AsyncIterator[Worker]:
    """`sluice agent` in the house's pool, ended at the end."""
    # frozen, as nothing changes it but a test
    object.__setattr__(house.serving.concepts.agents, "ping_seconds", RARELY)
    data = root / "agent"
    kept = {name: value for name, value in os.environ.items() if "SLUICE" not in name}
    with (root / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sluice",
            "agent",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=kept
            | {
                "XDG_CONFIG_HOME": str(root / "config"),
                "SLUICE_URL": house.serving.url,
                "SLUICE_POOL_TOKEN": house.pool_token,
                "SLUICE_AGENT_NAME": "worker",
                "SLUICE_AGENT_DATA_DIR": str(data),
            },
        )
    try:
        await until((data / "agent.json").exists)
        agent_id = json.loads((data / "agent.json").read_text())["agent_id"]
        yield Worker(house, data, agent_id)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.wait()


@pytest.fixture
async def worker(house: House, tmp_path: Path) -> AsyncIterator[Worker]:
    async with agent_process(house, tmp_path) as started:
        yield started


async def test_a_drain_reaches_an_agent_that_waits_for_work(worker: Worker) -> None:
    await until(lambda: worker.doing("pull").startswith("waiting for work"))
    await worker.ask("drain", "a new disk")
    await until(
        lambda: worker.doing("pull") == "not pulling: draining: ann: a new disk"
    )
    shown = await worker.house.admin.get(f"/agents/{worker.id}")
    assert shown["state"] == "draining"
    assert shown["drain"]["reason"] == "a new disk"
    late = await worker.script("echo late")
    await asyncio.sleep(1)
    assert await worker.status(late) == "pending"


async def test_what_runs_goes_on_and_a_resume_has_the_agent_take_work(
    worker: Worker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running = await worker.script(
        f"echo begun; while [ ! -e {gate} ]; do sleep 0.1; done; echo done"
    )
    await worker.reaches(running, "running")
    await worker.ask("drain", "a new disk")
    await until(lambda: "draining" in worker.doing("pull"))
    late = await worker.script("echo late")
    await asyncio.sleep(0.5)
    assert await worker.status(late) == "pending"
    assert await worker.status(running) == "running"
    await worker.ask("resume", "it is in")
    await worker.reaches(late, "success")
    assert await worker.status(running) == "running"
    gate.touch()
    await worker.reaches(running, "success")
