"""Tells the server every few seconds that the agent lives, and carries out what it answers.

The ping renews the leases of all phases and the agent's token. Orders also come over open
upload connections at once; the ping is the slow path that always works.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol, assert_never

import psutil
import structlog

from sluice.base.errors import (
    ForbiddenError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi
from sluice.runner.backoff import Backoff, jittered
from sluice.runner.drain import Drain
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.runner.register import AGENT_VERSION, Session
from sluice.runner.slots import Load, plan_limit
from sluice.runner.status import StatusNode
from sluice.wire.agent import Command, CommandType, PingRequest

_log = structlog.get_logger(__name__)


class RunningPhases(Protocol):
    """What the ping needs to know of the phases that run."""

    @property
    def load(self) -> Load:
        """How many run."""
        ...

    @property
    def task_ids(self) -> list[str]:
        """Their tasks."""
        ...

    @property
    def lease_ids(self) -> list[str]:
        """Their leases, to be renewed."""
        ...

    def cancel(self, task_id: str, request: CancelRequest) -> None:
        """Ask the phase of a task to stop."""
        ...


@dataclass(frozen=True, slots=True)
class PingLoop:
    """The loop and what it talks to; ``now`` is set to have it ping at once."""

    api: AgentApi
    session: Session
    phases: RunningPhases
    drain: Drain
    status: StatusNode
    now: asyncio.Event
    own_limit: int | None = None

    async def run(self) -> None:
        """Ping until cancelled; what fails is tried again soon."""
        psutil.cpu_percent(interval=None)  # the first call only sets the mark
        backoff = Backoff(1.0, max(self.session.ping_seconds, 1.0))
        while True:
            self.now.clear()
            if await self.ping():
                backoff.reset()
                pause = jittered(self.session.ping_seconds)
            else:
                pause = backoff.delay()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.now.wait()

    async def ping(self) -> bool:
        """One ping; returns whether the server took it."""
        token = self.session.token
        try:
            answer = await self.api.ping(token, self._request())
        except (UnauthorizedError, ForbiddenError, NotFoundError):
            return await self._renew(token)
        except SluiceError as error:
            self.status.say(f"the server does not answer pings: {error.detail}")
            _log.warning("ping failed", why=error.detail)
            return False
        self.session.refreshed(answer)
        for command in answer.commands:
            self._obey(command)
        self.status.say(f"pinging every {self.session.ping_seconds:g} s")
        return True

    async def _renew(self, token: str) -> bool:
        try:
            await self.session.renew(token)
        except SluiceError as error:
            self.status.say(f"the server no longer knows this agent: {error.detail}")
            _log.warning("cannot register again", why=error.detail)
        return False

    def _request(self) -> PingRequest:
        load = self.phases.load
        return PingRequest(
            agent_id=self.session.agent_id,
            busy=load.total > 0,
            draining=self.drain.draining,
            plan_tasks_running=load.plans,
            plan_task_limit=plan_limit(self.session.pool, self.own_limit),
            apply_task_running=load.applies > 0,
            current_tasks=self.phases.task_ids,
            leases=self.phases.lease_ids,
            cpu_usage=round(psutil.cpu_percent(interval=None) / 100, 3),
            mem_usage=round(psutil.virtual_memory().percent / 100, 3),
            version=AGENT_VERSION,
        )

    def _obey(self, command: Command) -> None:
        match command.type:
            case CommandType.CANCEL | CommandType.FORCE_CANCEL:
                kind = CancelKind(command.type.value)
                if command.task_id is not None:
                    request = CancelRequest(kind, command.reason)
                    self.phases.cancel(command.task_id, request)
            case CommandType.DRAIN:
                _log.info("draining", why=command.reason or "the server asks for it")
                self.drain.asked_by_server(drain=True)
            case CommandType.RESUME:
                _log.info("taking work again", why=command.reason)
                self.drain.asked_by_server(drain=False)
            case _:
                assert_never(command.type)
