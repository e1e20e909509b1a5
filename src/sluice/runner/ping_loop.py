"""Tells the server every few seconds that the agent lives, and carries out what it answers.

The ping renews the leases of all phases and the agent's token. That there are orders is also
told over open polls and uploads, and has it ping at once; it is the slow path that always
works.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

from sluice.base.errors import (
    ForbiddenError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi
from sluice.runner.backoff import Backoff, jittered
from sluice.runner.concurrency import Concurrency
from sluice.runner.drain import Drain
from sluice.runner.phase_dir import CancelKind, CancelRequest
from sluice.runner.register import AGENT_VERSION, Session
from sluice.runner.slots import Load
from sluice.runner.status import StatusTree
from sluice.wire.agent import Command, CommandType, LoopStatus, PingRequest

LONGEST_SAMPLE_SECONDS = 1.0
"""The load is sampled over at least this long, or half the time between pings."""

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
    """The loop and what it talks to.

    Attributes:
        now: set to have it ping at once.
        pinged: set when such a ping was answered.
    """

    api: AgentApi
    session: Session
    phases: RunningPhases
    drain: Drain
    concurrency: Concurrency
    tree: StatusTree
    now: asyncio.Event
    pinged: asyncio.Event

    async def run(self) -> None:
        """Ping until cancelled; what fails is tried again soon."""
        backoff = Backoff(1.0, max(self.session.ping_seconds, 1.0))
        while True:
            asked = self.now.is_set()
            self.now.clear()
            if await self.ping():
                if asked:
                    self.pinged.set()
                backoff.reset()
                pause = jittered(self.session.ping_seconds)
            else:
                pause = backoff.delay()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.now.wait()

    async def ping(self) -> bool:
        """One ping; returns whether the server took it."""
        token, status = self.session.token, self.tree.node("ping")
        try:
            answer = await self.api.ping(token, self._request())
        except (UnauthorizedError, ForbiddenError, NotFoundError):
            return await self._renew(token)
        except SluiceError as error:
            status.say(f"the server does not answer pings: {error.detail}")
            _log.warning("ping failed", why=error.detail)
            return False
        self.session.refreshed(answer)
        drained = self.drain.draining
        for command in answer.commands:
            self._obey(command)
        if self.drain.draining != drained:
            # the server gives no work to one that says it drains
            self.now.set()
        self.tree.fact("agent_id", self.session.agent_id)
        self.tree.fact("advice", self.session.advice)
        self.tree.fact("draining", self.drain.words)
        status.say(f"pinging every {self.session.ping_seconds:g} s")
        return True

    async def _renew(self, token: str) -> bool:
        try:
            await self.session.renew(token)
        except SluiceError as error:
            self.tree.node("ping").say(
                f"the server no longer knows this agent: {error.detail}"
            )
            _log.warning("cannot register again", why=error.detail)
        return False

    def _request(self) -> PingRequest:
        load, pool = self.phases.load, self.session.pool
        shortest = min(LONGEST_SAMPLE_SECONDS, self.session.ping_seconds / 2)
        self.concurrency.observe(pool, at_least_seconds=shortest)
        sample = self.concurrency.sample
        return PingRequest(
            agent_id=self.session.agent_id,
            busy=load.total > 0,
            draining=self.drain.draining,
            plan_tasks_running=load.plans,
            plan_task_limit=self.concurrency.limit(pool),
            apply_task_running=load.applies > 0,
            current_tasks=self.phases.task_ids,
            leases=self.phases.lease_ids,
            cpu_usage=round(sample.cpu, 3),
            mem_usage=round(sample.memory, 3),
            version=AGENT_VERSION,
            ending=self.drain.ending.is_set(),
            instance=self.session.instance,
            loops={
                name: LoopStatus(doing=words, since=since)
                for name, words, since in self.tree.lines()
            },
        )

    def _obey(self, command: Command) -> None:
        match command.type:
            case CommandType.CANCEL | CommandType.FORCE_CANCEL:
                kind = CancelKind(command.type.value)
                if command.task_id is not None:
                    request = CancelRequest(kind, command.reason)
                    self.phases.cancel(command.task_id, request)
            case CommandType.DRAIN:
                self.drain.asked_by_server(drain=True, reason=command.reason)
            case CommandType.RESUME:
                self.drain.asked_by_server(drain=False, reason=command.reason)
            case _:
                assert_never(command.type)
