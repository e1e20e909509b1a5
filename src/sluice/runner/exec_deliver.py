"""`sluice exec --deliver`: sends what earlier runs left in their spools."""

import asyncio
import os
from pathlib import Path

from sluice.base.clock import SystemClock
from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.runner import burial
from sluice.runner.exec_delivery import Delivery, opened
from sluice.runner.exec_dir import ExecDir, found_runs, remove_run
from sluice.runner.exec_settings import ExecSettings, find_server

LOOK_SECONDS = 0.25

_KILLED = (
    "The runner was killed before the script ended; what the script did after that, and"
    " how it ended, is not known."
)


async def deliver(path: Path, settings: ExecSettings) -> list[str]:
    """Deliver the run in a directory, or all that it holds; the tasks, once they are there.

    A run whose runner was killed is reported as failed.

    Raises:
        InvalidInputError: there is no run.
        ConflictError: a run's script still runs.
        SluiceError: the server refuses it, or cannot be reached in time; it is kept.
    """
    return [await _deliver(run, settings) for run in found_runs(path)]


async def _deliver(run: ExecDir, settings: ExecSettings) -> str:
    record = run.read_record()
    server = find_server(
        settings.model_copy(update={"url": settings.url or record.url})
    )
    if server is None:
        raise InvalidInputError(
            f"Nobody is signed in to {settings.url or record.url}; set SLUICE_TOKEN, or run"
            " `sluice login`."
        )
    lock = run.lock()
    try:
        await asyncio.to_thread(_bury_if_killed, run)
        async with opened(run, server, settings, on_command=lambda _: None) as delivery:
            await _within(delivery, settings.drain_timeout)
        await asyncio.to_thread(remove_run, run)
    finally:
        os.close(lock)
    return record.task_id


def _bury_if_killed(run: ExecDir) -> None:
    if not run.phase.result.exists():
        burial.bury(run.phase, _KILLED, diverged=False, clock=SystemClock())


async def _within(delivery: Delivery, seconds: float) -> None:
    """Deliver, unless the server refuses or stays away for so long.

    Raises:
        SluiceError: it was not delivered.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with asyncio.TaskGroup() as group:
        delivering = group.create_task(delivery.run())
        while not (delivering.done() or delivery.refused or loop.time() >= end):
            await asyncio.wait({delivering}, timeout=LOOK_SECONDS)
        delivered = delivering.done()
        delivering.cancel()
    if not delivered:
        raise delivery.failure or UnavailableError(
            f"Not everything was delivered in {seconds:g} s ({delivery.problem}); try again,"
            " with a longer --drain-timeout if there is much."
        )
