"""Keeps an agent running as a child process of `sluice up`, and stops it before the server."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from sluice.server.settings import child_environment

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LEAVE_SECONDS = 10.0
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where the agent connects to, as what, and where it keeps and writes things."""

    url: str
    pool_token: str = field(repr=False)
    name: str
    data_dir: Path
    log_file: Path

    def environment(self) -> Mapping[str, str]:
        """What the agent's settings are set to."""
        return {
            "SLUICE_URL": self.url,
            "SLUICE_POOL_TOKEN": self.pool_token,
            "SLUICE_AGENT_NAME": self.name,
            "SLUICE_AGENT_DATA_DIR": str(self.data_dir),
        }


class AgentChild:
    """One agent process, started again where it ends by itself.

    Stopping: SIGTERM lets the agent finish what runs; `hurry` (SIGINT) makes it leave at
    once, and terraform goes on by itself until the next start takes it up.
    """

    def __init__(self, place: AgentPlace) -> None:
        self._place = place
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.hurry = asyncio.Event()

    async def run(self) -> None:
        """Run until `stop` was called and the agent has ended."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            code = await self._once()
            if self._stopping.is_set():
                return
            _logger.warning(
                "the agent ended by itself and is started again",
                exit_code=code,
                log=str(self._place.log_file),
            )
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE)

    def stop(self) -> None:
        """Ask the agent to finish what runs and to end."""
        self._stopping.set()

    async def _once(self) -> int:
        with self._place.log_file.open("ab") as log:
            # a session of its own: Ctrl-C at the terminal is for `up` to deal with
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sluice",
                "agent",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(self._place.environment()),
                start_new_session=True,
            )
        process = self._process
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(self._end_when_asked(process))
            code = await process.wait()
            ending.cancel()
        return code

    async def _end_when_asked(self, process: asyncio.subprocess.Process) -> None:
        try:
            await self._stopping.wait()
            _signal(process, signal.SIGTERM)
            await self.hurry.wait()
            _signal(process, signal.SIGINT)
            await asyncio.sleep(LEAVE_SECONDS)
            _logger.warning("the agent does not leave and is killed")
            _signal(process, signal.SIGKILL)
        except asyncio.CancelledError:
            _signal(process, signal.SIGTERM)
            raise


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)
