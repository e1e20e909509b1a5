"""Puts the agent together from its loops, and takes it apart in order when it is to stop.

Stopping, step by step: (1) the server is told and nothing more is pulled; (2) running
phases go on to their report, for as long as the setting allows; (3) the loops end. A
second signal goes to (3) at once: phase processes go on by themselves, and the next start
takes them up.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import ConflictError, SluiceError
from sluice.client.agent_api import AgentApi, tls_of
from sluice.runner.concurrency import Concurrency
from sluice.runner.drain import Drain
from sluice.runner.phases import Phases
from sluice.runner.ping_loop import PingLoop
from sluice.runner.pull_loop import PullLoop
from sluice.runner.register import (
    AGENT_VERSION,
    Identity,
    Introduction,
    Session,
    register,
)
from sluice.runner.settings import AgentSettings
from sluice.runner.status import StatusTree
from sluice.runner.takeup import find_phases, sweep
from sluice.runner.workplace import (
    Folders,
    Workplace,
    download_client,
    environment_of,
    limits_of,
    products_of,
)

FAREWELL_SECONDS = 3.0
SWEEP_SECONDS = 3600.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """How the agent ended: the tasks whose phase processes still run by themselves."""

    running_tasks: tuple[str, ...] = ()


class Agent:
    """One agent. `run` it; `drain` and `leave` may be called at any time.

    Args:
        settings: see `AgentSettings`.
        clock: for times.
    """

    def __init__(self, settings: AgentSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._changed = asyncio.Event()
        self._drain = Drain(self._changed)
        self._folders = Folders(settings.agent_data_dir.absolute())

    def drain(self) -> None:
        """Take no more work and end when what runs is done; a second time: end at once."""
        if self._drain.ending.is_set():
            self.leave()
            return
        _log.info("draining: no more work is taken; again to leave at once")
        self._drain.end()

    def leave(self) -> None:
        """End at once; phase processes go on."""
        self._drain.leave()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM drains, a second one or SIGINT leaves, for as long as this is entered."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        loop.add_signal_handler(signal.SIGINT, self.leave)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    async def run(self) -> Left:
        """Register, take up what an earlier run left, and work until told to stop.

        Raises:
            InvalidInputError: a setting cannot be used.
            UnauthorizedError: the server does not accept the pool token.
            ConflictError: another agent runs in this data directory.
        """
        token = self._settings.token
        products = products_of(self._settings)
        self._folders.create()
        status = StatusTree(self._folders.status, self._clock)
        async with AsyncExitStack() as stack:
            stack.enter_context(_alone_in(self._folders))
            status.fact("name", self._settings.agent_name)
            status.fact("url", self._settings.url)
            status.fact("pid", str(os.getpid()))
            api = await stack.enter_async_context(self._api())
            downloads = await stack.enter_async_context(download_client(self._settings))
            session = await self._register(api, token, status)
            if session is None:
                return Left()
            status.fact("agent_id", session.agent_id)
            status.fact("advice", session.advice)
            place = Workplace(
                api=api,
                session=session,
                downloads=downloads,
                products=products,
                clock=self._clock,
                status=status,
                folders=self._folders,
                cache=self._settings.agent_cache_dir,
                mode=self._settings.agent_stream_mode,
                limits=limits_of(self._settings),
                mask=[token],
                ping_now=asyncio.Event(),
                ca_file=str(self._settings.agent_ca_file or ""),
                environment=environment_of(self._settings),
            )
            return await self._work(place)

    def _api(self) -> AgentApi:
        tls = tls_of(self._settings.agent_ca_file)
        return AgentApi(self._settings.url, tls=tls, version=AGENT_VERSION)

    async def _register(
        self, api: AgentApi, token: str, status: StatusTree
    ) -> Session | None:
        """Register; None when the agent is told to stop before it could."""
        introduction = Introduction(
            pool_token=token,
            name=self._settings.agent_name,
            labels=self._settings.agent_labels,
        )
        identity = Identity(self._folders.identity)

        async def registered() -> Session | SluiceError:
            try:
                node = status.node("register")
                return await register(api, introduction, identity, node)
            except SluiceError as error:
                return error

        async with asyncio.TaskGroup() as group:
            writer = group.create_task(status.run())
            task = group.create_task(registered())
            ending = group.create_task(self._drain.ending.wait())
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
            for each in (writer, task, ending):
                each.cancel()
        answer = None if task.cancelled() else task.result()
        if isinstance(answer, SluiceError):
            raise answer
        return answer

    async def _work(self, place: Workplace) -> Left:
        async with asyncio.TaskGroup() as group:
            phases = Phases(place, group, self._changed)
            for found in await asyncio.to_thread(find_phases, self._folders):
                phases.take_up(found)
            ping, pull = self._loops(place, phases)
            pulling = group.create_task(pull.run())
            others = [
                group.create_task(ping.run()),
                group.create_task(place.status.run()),
                group.create_task(self._sweep()),
            ]
            await self._drain.ending.wait()
            await self._say_farewell(ping)
            pulling.cancel()
            await self._until_idle(phases)
            left = Left(tuple(phases.task_ids))
            phases.abandon()
            for each in others:
                each.cancel()
        if left.running_tasks:
            _log.warning(
                "leaving; phase processes go on and are taken up by the next start",
                tasks=list(left.running_tasks),
            )
        return left

    def _loops(self, place: Workplace, phases: Phases) -> tuple[PingLoop, PullLoop]:
        concurrency = Concurrency(
            self._settings.agent_plan_limit, self._clock, self._changed
        )
        pinged = asyncio.Event()
        ping = PingLoop(
            api=place.api,
            session=place.session,
            phases=phases,
            drain=self._drain,
            concurrency=concurrency,
            tree=place.status,
            now=place.ping_now,
            pinged=pinged,
        )
        pull = PullLoop(
            api=place.api,
            session=place.session,
            phases=phases,
            drain=self._drain,
            concurrency=concurrency,
            changed=self._changed,
            ping_now=place.ping_now,
            pinged=pinged,
            status=place.status.node("pull"),
        )
        return ping, pull

    async def _say_farewell(self, ping: PingLoop) -> None:
        """Tell the server first, so that it hands nothing to a poll that is broken off."""
        if not self._drain.leaving.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await ping.ping()

    async def _until_idle(self, phases: Phases) -> None:
        """Wait for running phases, within the setting's bound, or until told to leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.agent_drain_seconds):
                while phases.load.total and not self._drain.leaving.is_set():
                    self._changed.clear()
                    await self._changed.wait()

    async def _sweep(self) -> None:
        while True:
            days = self._settings.agent_fenced_keep_days
            await asyncio.to_thread(
                sweep, self._folders, keep_days=days, clock=self._clock
            )
            await asyncio.sleep(SWEEP_SECONDS)


@contextlib.contextmanager
def _alone_in(folders: Folders) -> Iterator[None]:
    """Hold the data directory; two agents in one would take up each other's phases."""
    descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Another agent runs in {folders.data}; give each its own"
                " SLUICE_AGENT_DATA_DIR."
            ) from None
        yield
    finally:
        os.close(descriptor)
