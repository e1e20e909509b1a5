"""Brings a run of `sluice exec` to the server: begins it, uploads its log, reports its end.

The script does not wait for any of this, and nothing here can fail it: whatever goes wrong
is tried again until somebody says that it is enough, and the spool stays until then.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import structlog
from typing_extensions import override

from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import (
    ConflictError,
    FencedError,
    RateLimitedError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi
from sluice.runner import burial
from sluice.runner.backoff import Backoff
from sluice.runner.exec_dir import ExecDir, RunRecord
from sluice.runner.exec_settings import ExecSettings, Server
from sluice.runner.register import AGENT_VERSION
from sluice.runner.status import StatusNode
from sluice.runner.uplink import Rhythm, Uplink
from sluice.runner.uplink_carriers import Carrier, Tokens
from sluice.wire.exec import ExecRequest, ExecResponse
from sluice.wire.texts import storable

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
PROBE_SECONDS = 5.0

_REFUSALS = range(400, 500)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Whom a run is delivered to, and as whom."""

    api: AgentApi
    token: str = field(repr=False)


class RunTokens(Tokens):
    """A run's token; one that the server refuses is replaced by beginning the run again."""

    def __init__(self) -> None:
        super().__init__("", lambda: self._token)
        self.stale = asyncio.Event()
        self._token = ""

    @override
    def refused(self) -> None:
        """The server did not take it: a fresh one is to be asked for."""
        self.stale.set()

    def renew(self, token: str) -> None:
        """A fresh one is here."""
        self._token = token
        self.stale.clear()


class Words(StatusNode):
    """What an upload is doing, kept for the one who asks."""

    def __init__(self) -> None:
        self.latest = ""

    @override
    def say(self, words: str) -> None:
        """Replace what is kept."""
        self.latest = words


class Delivery:
    """One run's way to the server.

    Args:
        run: its directory.
        address: the server.
        clock: for the rhythm.
        on_command: told when the server asks the script to stop.
        rhythm: how the upload goes while nobody watches.

    Attributes:
        refused: the latest answer was a refusal, which waiting alone does not change.
        failure: why the latest try went wrong, if it did.
    """

    def __init__(
        self,
        run: ExecDir,
        address: Address,
        *,
        clock: Clock,
        on_command: Callable[[str], None],
        rhythm: Rhythm,
    ) -> None:
        self.refused = False
        self.failure: SluiceError | None = None
        self._problem = ""
        self._words = Words()
        self._run = run
        self._api = address.api
        self._token = address.token
        self._clock = clock
        self._on_command = on_command
        self._rhythm = rhythm
        self._tokens = RunTokens()

    @property
    def problem(self) -> str:
        """Why it is not delivered yet, in words."""
        return self._problem or self._words.latest

    async def run(self) -> None:
        """Deliver until the server has everything, however long that takes.

        When cancelled, nothing is lost: the directory holds what the server lacks.
        """
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renewing())
            backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
            while True:
                if await self._once(backoff):
                    break
                await asyncio.sleep(backoff.delay())
            renewing.cancel()

    async def _once(self, backoff: Backoff) -> bool:
        """Try once; returns whether the server has everything."""
        try:
            record = await asyncio.to_thread(self._run.read_record)
            begun = await self._begin(record)
            backoff.reset()
            return await self._deliver(record, begun)
        except SluiceError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not fail the script; the spool stays
            _log.exception("delivery failed")
            self._problem = f"{type(error).__name__}: {error}"
        return False

    async def _begin(self, record: RunRecord) -> ExecResponse:
        begun = await self._api.begin_exec(
            self._token,
            record.task_id,
            request_of(record),
            organization=record.organization,
        )
        self.refused, self.failure, self._problem = False, None, ""
        self._tokens.renew(begun.task_token)
        return begun

    async def _renewing(self) -> None:
        """Ask for a fresh token whenever one was refused."""
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        while True:
            await self._tokens.stale.wait()
            try:
                await self._begin(await asyncio.to_thread(self._run.read_record))
            except SluiceError as error:
                self._failed(error)
            await asyncio.sleep(backoff.delay())

    def _failed(self, error: SluiceError) -> None:
        self.failure, self._problem = error, error.detail
        limited = isinstance(error, RateLimitedError)
        self.refused = error.status in _REFUSALS and not limited

    async def _deliver(self, record: RunRecord, begun: ExecResponse) -> bool:
        carrier = Carrier(
            api=self._api,
            task_id=record.task_id,
            lease_id=begun.lease_id,
            tokens=self._tokens,
            clock=self._clock,
            status=self._words,
            probe_seconds=PROBE_SECONDS,
        )
        uplink = Uplink(
            self._run.phase,
            begun.log,
            clock=self._clock,
            on_command=self._on_command,
            rhythm=self._rhythm,
        )
        with closing(uplink):
            backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
            while True:
                if await self._upload_and_finish(carrier, uplink, begun):
                    return True
                await asyncio.sleep(backoff.delay())

    async def _upload_and_finish(
        self, carrier: Carrier, uplink: Uplink, begun: ExecResponse
    ) -> bool:
        """Upload until everything is there, and report the end; False: do it again."""
        try:
            await carrier.run(uplink)
        except FencedError:
            # perhaps the end was reported before, and the answer got lost
            if not self._run.phase.result.exists():
                raise
        if uplink.damaged:
            await asyncio.to_thread(self._tell_damage, uplink.damaged)
            return False
        return await self._finish(uplink, begun)

    def _tell_damage(self, damage: str) -> None:
        """Begin a new segment behind one that cannot be read: the reader tells of the gap."""
        text = f"The end of this log was damaged on the disk ({damage})"
        burial.say(self._run.phase, text, clock=self._clock)

    async def _finish(self, uplink: Uplink, begun: ExecResponse) -> bool:
        """Report the end; returns False when something has to be done before."""
        log_end = await asyncio.to_thread(uplink.log_end)
        result = await asyncio.to_thread(self._run.phase.read_result)
        if result is None:
            raise FencedError("How the script ended has vanished from the disk.")
        report = result.to_phase_result(lease_id=begun.lease_id, log_end=log_end)
        try:
            await self._api.finish(
                self._tokens.current, begun.agent_id, begun.task_id, report
            )
        except UnauthorizedError as error:
            self._problem = error.detail
            self._tokens.refused()
            return False
        except (ConflictError, FencedError) as error:
            if "committed" in error.extra:
                return False
            raise
        return True


@asynccontextmanager
async def opened(
    run: ExecDir,
    server: Server,
    settings: ExecSettings,
    *,
    on_command: Callable[[str], None],
) -> AsyncIterator[Delivery]:
    """A run's way to a server, by the settings."""
    async with AgentApi(server.url, version=AGENT_VERSION) as api:
        yield Delivery(
            run,
            Address(api, server.token),
            clock=SystemClock(),
            on_command=on_command,
            rhythm=Rhythm(
                seconds=settings.log_flush_interval,
                lines=settings.log_batch_size,
                held_lines=settings.log_buffer_size,
            ),
        )


def request_of(record: RunRecord) -> ExecRequest:
    """How a run introduces itself to the server."""
    return ExecRequest(
        run_id=record.run_id,
        name=storable(record.name)[:500],
        script_path=storable(record.script_path)[:4096],
        process_id=record.process_id,
        floor=record.floor,
        host=storable(record.host)[:255],
        version=AGENT_VERSION,
    )
