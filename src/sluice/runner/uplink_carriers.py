"""How uploads travel: over a WebSocket, or by PATCH where WebSockets are blocked; again and again.

The WebSocket is tried first. Where it is refused or dies before the server says anything,
the same messages go by PATCH for a while; a refusal that is the server's own comes back
there in words.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from sluice.base.clock import Clock
from sluice.base.errors import (
    FencedError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.client.agent_api import AgentApi, decode_ack
from sluice.runner.backoff import Backoff
from sluice.runner.status import StatusNode
from sluice.runner.uplink import Outcome, Uplink
from sluice.wire.log_flow import StreamMode

FIRST_DELAY = 0.1
LONGEST_DELAY = 15.0
OPEN_SECONDS = 10.0
PATCH_SECONDS = 60.0
PATCH_PROBE_SECONDS = 5.0
REFUSED_SECONDS = 120.0
EARLY_LOSSES = 2

_REFUSALS = (UnauthorizedError, ForbiddenError, NotFoundError)
_log = structlog.get_logger(__name__)


class Tokens:
    """Which token uploads are signed with: the task's own, else the agent's.

    A restarted agent no longer has the task's token; and a task's token may end before a
    long phase does.
    """

    def __init__(self, task_token: str, agent_token: Callable[[], str]) -> None:
        self._task_token = task_token
        self._agent_token = agent_token
        self._use_task = bool(task_token)

    @property
    def current(self) -> str:
        """The token to use now."""
        return self._task_token if self._use_task else self._agent_token()

    def refused(self) -> None:
        """The server did not take the current one: try the other."""
        self._use_task = bool(self._task_token) and not self._use_task


@dataclass(slots=True)
class Carrier:
    """Keeps one phase's uplink connected until everything is on the server.

    Args:
        api: the server.
        task_id: the task.
        lease_id: the lease under which is uploaded.
        tokens: who signs.
        clock: for how long refusals are borne.
        status: told in words how it goes.
        mode: the rhythm, for the server's records.
        probe_seconds: say something after so much silence over a WebSocket too; for who
            has no pings that renew its lease.
    """

    api: AgentApi
    task_id: str
    lease_id: str
    tokens: Tokens
    clock: Clock
    status: StatusNode
    mode: StreamMode = StreamMode.AUTO
    probe_seconds: float | None = None
    _blocked_until: float = field(default=0.0, init=False)
    _refused_since: float | None = field(default=None, init=False)
    _early_losses: int = field(default=0, init=False)

    async def run(self, uplink: Uplink) -> None:
        """Upload until the phase has ended and all of its log is acknowledged.

        Raises:
            FencedError: the server does not want this lease's log any more.
        """
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        while await self._once(uplink) is not Outcome.COMPLETE:
            if uplink.opened:
                backoff.reset()
                self._refused_since = None
            await asyncio.sleep(backoff.delay())

    async def _once(self, uplink: Uplink) -> Outcome:
        if self.clock.monotonic() < self._blocked_until:
            return await self._patch(uplink)
        try:
            outcome = await self._websocket(uplink)
        except (InvalidHandshake, TimeoutError) as error:
            return await self._fall_back(uplink, why=str(error) or "no answer in time")
        except (OSError, WebSocketException) as error:
            self.status.say(
                f"the server cannot be reached ({error}); output is spooled"
            )
            return Outcome.LOST
        self._early_losses = 0 if uplink.opened else self._early_losses + 1
        if self._early_losses >= EARLY_LOSSES:
            return await self._fall_back(uplink, why="it ends before a word is said")
        return outcome

    async def _fall_back(self, uplink: Uplink, *, why: str) -> Outcome:
        _log.info("no WebSocket, trying PATCH", task_id=self.task_id, why=why)
        self._blocked_until = self.clock.monotonic() + PATCH_SECONDS
        return await self._patch(uplink)

    async def _websocket(self, uplink: Uplink) -> Outcome:
        secure = self.api.url.startswith("https:")
        base = self.api.url.replace("http", "ws", 1)
        query = (
            f"task_id={self.task_id}&lease_id={self.lease_id}&stream_mode={self.mode}"
        )
        async with connect(
            f"{base}/ws/agent/logs?{query}",
            additional_headers={"Authorization": f"Bearer {self.tokens.current}"},
            ssl=self.api.tls if secure else None,
            compression=None,
            max_size=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=2.0,
        ) as socket:
            self.status.say("uploading over a WebSocket")
            return await _talk(socket, uplink, self.probe_seconds)

    async def _patch(self, uplink: Uplink) -> Outcome:
        """Upload by PATCH for the rest of a minute; then WebSockets are tried again."""

        async def carry(message: bytes) -> None:
            ack = await self.api.patch_log(
                self.tokens.current, self.task_id, self.lease_id, message
            )
            if not uplink.opened:
                self.status.say("uploading by PATCH: the WebSocket is blocked")
            uplink.answer(ack)

        rest = self._blocked_until - self.clock.monotonic()
        timer = asyncio.get_running_loop().call_later(rest, uplink.lose)
        try:
            return await uplink.converse(carry, probe_seconds=PATCH_PROBE_SECONDS)
        except (FencedError, GoneError) as error:
            raise FencedError(error.detail) from None
        except _REFUSALS as error:
            self._refused(error)
        except SluiceError as error:
            self.status.say(f"cannot upload: {error.detail} Output is spooled.")
        finally:
            timer.cancel()
            if not uplink.opened:
                self._blocked_until = 0.0  # it was not the WebSocket alone
        return Outcome.LOST

    def _refused(self, error: SluiceError) -> None:
        """The server does not take the token, or does not know the task.

        Borne for two minutes (a server may be restarting beside a proxy), then final.
        """
        now = self.clock.monotonic()
        since = self._refused_since = self._refused_since or now
        self.tokens.refused()
        self.status.say(f"the server refuses the upload: {error.detail}")
        if now - since >= REFUSED_SECONDS:
            raise FencedError(
                f"The server has refused the log for {now - since:.0f} s: {error.detail}"
            )


async def _talk(
    socket: ClientConnection, uplink: Uplink, probe_seconds: float | None
) -> Outcome:
    """One conversation over an open WebSocket."""
    fenced: FencedError | None = None
    outcome = Outcome.LOST
    async with asyncio.TaskGroup() as group:
        receiver = group.create_task(_receive(socket, uplink))
        try:
            outcome = await uplink.converse(socket.send, probe_seconds=probe_seconds)
        except ConnectionClosed:
            pass
        except FencedError as error:
            fenced = error
        receiver.cancel()
    if fenced is not None:
        raise fenced
    return outcome


async def _receive(socket: ClientConnection, uplink: Uplink) -> None:
    """Hand the server's answers on until the connection ends."""
    try:
        async for text in socket:
            uplink.answer(decode_ack(text))
    except (ConnectionClosed, SluiceError) as error:
        _log.info("upload connection lost", why=str(error))
    finally:
        uplink.lose()
