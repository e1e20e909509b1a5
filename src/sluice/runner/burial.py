"""Ends a phase whose process died without a word: says so in its log and saves its state.

A phase process that was killed leaves terraform without a reader: it dies of that, or is
ended here. What it had written of the state is uploaded, or kept on the agent.
"""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import structlog

from sluice.base.clock import Clock
from sluice.base.errors import SluiceError
from sluice.client.agent_api import AgentApi
from sluice.runner.job_spec import JobResult
from sluice.runner.job_state import keep_state, newest_state, state_problem
from sluice.runner.job_work import WorkDir
from sluice.runner.phase_dir import JobProcess, PhaseDir
from sluice.runner.spool import SpoolWriter
from sluice.wire.agent import PhaseName, PhaseOrder, PhaseOutcome
from sluice.wire.events import Note

ORPHAN_SECONDS = 10.0
LAST_WORDS = 2000

_log = structlog.get_logger(__name__)


def death_of(phase: PhaseName, exit_code: int | None) -> str:
    """What to tell of a phase whose process is gone; negative codes are signals."""
    if exit_code is not None and exit_code >= 0:
        return (
            f"The phase process of this {phase.value} ended by itself with exit code"
            f" {exit_code} before it had a result; the agent's log says more."
        )
    return (
        f"The phase process of this {phase.value} was killed on the agent before it ended"
        " (by the system for want of memory, by a restart of the machine, or by hand)."
    )


def last_words(phase: PhaseDir) -> str:
    """The end of what the job process itself printed; never terraform's output."""
    try:
        return phase.job_log.read_text(errors="replace")[-LAST_WORDS:]
    except OSError:
        return ""


def say(phase: PhaseDir, text: str, *, clock: Clock) -> None:
    """Write a line of the agent's into a log whose job is gone."""
    wake = phase.open_wake()
    try:
        writer = SpoolWriter(phase.spool, clock=clock, wake=wake)
        writer.event(Note(error=True), f"===== {text} =====\n".encode())
        writer.close()
    finally:
        os.close(wake)


def bury(phase: PhaseDir, error: str, *, diverged: bool, clock: Clock) -> None:
    """Say in the log what happened, then write the result that the job could not."""
    say(phase, error, clock=clock)
    phase.write_result(
        JobResult(outcome=PhaseOutcome.FAILED, error=error, state_diverged=diverged)
    )


def end_orphans(job: JobProcess | None) -> None:
    """End what a dead job left running: interrupt, then kill. Blocks: call it in a thread.

    A job leads a session, and its number is not given to another process while any member
    of the session lives; so a process of that number means that nobody is left.
    """
    if job is None or psutil.pid_exists(job.pid):
        return
    deadline = time.monotonic() + ORPHAN_SECONDS
    _signal_all(job.pid, signal.SIGINT)
    while _members(job.pid):
        if time.monotonic() >= deadline:
            _signal_all(job.pid, signal.SIGKILL)
        time.sleep(0.1)


def _members(session: int) -> list[int]:
    found: list[int] = []
    for pid in psutil.pids():
        try:
            alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
            if alive and os.getsid(pid) == session:
                found.append(pid)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found


def _signal_all(session: int, number: signal.Signals) -> None:
    for pid in _members(session):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
        _log.warning("ended what a dead phase left", pid=pid, signal=number.name)


async def save_state(
    phase: PhaseDir, order: PhaseOrder, api: AgentApi, *, token: str, kept: Path
) -> bool:
    """Upload the state that a dead apply left; returns whether the server misses it now.

    Where the server does not take it, it is kept on the agent.
    """
    state = await asyncio.to_thread(_state_of, phase, order)
    if state is None:
        return False
    why = await asyncio.to_thread(state_problem, state)
    if not why:
        try:
            await api.put(
                token, order.state_url, await asyncio.to_thread(state.read_bytes)
            )
        except SluiceError as error:
            why = error.detail
        else:
            await asyncio.to_thread(shutil.rmtree, phase.work, ignore_errors=True)
            return False
    _log.error(
        "the state of a dead apply is not stored", why=why, task_id=order.task_id
    )
    await asyncio.to_thread(rescue_state, phase, order, kept=kept)
    return True


def rescue_state(phase: PhaseDir, order: PhaseOrder, *, kept: Path) -> bool:
    """Move a state that is still in the phase's folder to where nothing removes it.

    Returns:
        False where there is one and it could not be moved: the folder must stay.
    """
    state = _state_of(phase, order)
    if state is None:
        return True
    try:
        path = keep_state(
            state,
            kept_dir=kept,
            workspace_id=order.workspace_id,
            task_id=order.task_id,
        )
    except OSError as error:
        _log.error("state not moved, stays", path=str(state), why=str(error))
        return False
    _log.error("state kept on the agent", path=str(path), task_id=order.task_id)
    return True


def _state_of(phase: PhaseDir, order: PhaseOrder) -> Path | None:
    if order.phase is not PhaseName.APPLY:
        return None
    work = WorkDir(phase.work, order.working_directory)
    state = newest_state(work.module, work.state)
    return state if state.exists() else None
