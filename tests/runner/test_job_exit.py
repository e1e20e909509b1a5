"""The end of a process is told at once, and found out where it cannot be told."""

import asyncio
import os
import subprocess

import pytest

from sluice.runner import job_exit as job_exit_module
from sluice.runner.job_exit import job_exit

LONG = 3600.0


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_exit_module, "TOLD_LOOK_SECONDS", LONG)
    monkeypatch.setattr(job_exit_module, "LOOK_SECONDS", 0.05)


async def test_the_end_is_told() -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system does not tell of a process's end")
    with (
        subprocess.Popen(["sleep", "600"]) as process,
        job_exit(process.pid) as end,
    ):
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            waiting = group.create_task(end.wait())
            await asyncio.sleep(0.2)
            assert not waiting.done()
            process.kill()
        # told once; whoever finds it not quite gone looks again soon
        async with asyncio.timeout(30):
            await end.wait()


async def test_a_process_that_is_gone_is_looked_at_soon() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with job_exit(process.pid) as end:
        async with asyncio.timeout(30):
            await end.wait()


async def test_without_a_process_it_is_looked_at_soon() -> None:
    with job_exit(None) as end:
        async with asyncio.timeout(30):
            await end.wait()


async def test_where_nothing_is_told_it_is_looked_at_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with job_exit(os.getpid()) as end:
        async with asyncio.timeout(30):
            await end.wait()


async def test_a_missed_end_is_looked_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_exit_module, "TOLD_LOOK_SECONDS", 0.05)
    with job_exit(os.getpid()) as end:
        async with asyncio.timeout(30):
            await end.wait()
