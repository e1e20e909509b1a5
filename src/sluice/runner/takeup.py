"""Finds, after a restart, the phases that an earlier run of the agent left, whole or half."""

import shutil
from dataclasses import dataclass

import structlog

from sluice.base.clock import Clock
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.workplace import Folders
from sluice.wire.agent import PhaseOrder

WHY_FILE = "why.txt"
DAY_SECONDS = 86_400

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A phase to go on with: running, ended and not reported, or dead."""

    phase: PhaseDir
    order: PhaseOrder


def find_phases(folders: Folders) -> list[Found]:
    """All phases to take up. Folders that hold none are put away, with a word in the log."""
    found: list[Found] = []
    for root in sorted(folders.phases.iterdir()):
        phase = PhaseDir(root)
        order = phase.read_order()
        if order is None and not phase.job_is_alive():
            put_away(phase, folders, why="there is no order in it")
        elif order is None:
            _log.error("a phase runs without a readable order", path=str(root))
        elif _never_began(phase):
            # Its lease runs out and the server queues it again; nothing was changed.
            _log.info("phase had not begun, left to its lease", task_id=order.task_id)
            shutil.rmtree(root, ignore_errors=True)
        else:
            found.append(Found(phase, order))
    return found


def _never_began(phase: PhaseDir) -> bool:
    """The agent died between making the folder and starting the job."""
    if phase.job_is_alive() or phase.result.exists() or phase.pid.exists():
        return False
    return not any(phase.spool.glob("seg-*"))


def put_away(phase: PhaseDir, folders: Folders, *, why: str) -> None:
    """Keep a phase's files for people to look at, out of the way."""
    target = folders.fenced / phase.root.name
    try:
        shutil.rmtree(phase.work, ignore_errors=True)
        (phase.root / WHY_FILE).write_text(why + "\n")
        shutil.rmtree(target, ignore_errors=True)
        phase.root.rename(target)
    except OSError as error:
        _log.error("phase not put away", path=str(phase.root), why=str(error))
    else:
        _log.warning("phase put away", path=str(target), why=why)


def sweep(folders: Folders, *, keep_days: float, clock: Clock) -> None:
    """Remove what was put away longer ago than the setting says."""
    oldest = clock.now().timestamp() - keep_days * DAY_SECONDS
    for root in folders.fenced.iterdir():
        if root.stat().st_mtime < oldest:
            shutil.rmtree(root, ignore_errors=True)
            _log.info("removed a phase that was put away", path=str(root))
