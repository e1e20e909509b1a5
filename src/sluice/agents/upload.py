"""One agent's upload connection: appends are pipelined, acknowledgements go out in order.

The next message is read while the last one is being committed. Cancelled or cut, nothing
is lost: what was not acknowledged is sent again, and found to be there or not.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog
from starlette.types import Message, Receive, Send

from sluice.base.clock import Clock
from sluice.base.errors import NotFoundError, SluiceError, UnavailableError
from sluice.base.ids import LeaseId, TaskId
from sluice.events.hub import Hub
from sluice.events.topics import agent_topic, task_topic, watch_topic
from sluice.logs.incoming import BrokenUploadError, split_upload
from sluice.logs.logbook import Logs
from sluice.logs.pending import Pending
from sluice.logs.tails import Tails
from sluice.tasks.model import LeaseRecord
from sluice.wire.agent import PING_COMMAND
from sluice.wire.chunk import Chunk
from sluice.wire.log_flow import WINDOW, Ack, AckStatus

AHEAD_BYTES = 2 * WINDOW
AHEAD_MESSAGES = 1024
RENEW_SECONDS = 5.0
LOOK_SECONDS = 5.0
CLOSE_BROKEN = 1007
CLOSE_REFUSED = 1008
CLOSE_TRY_AGAIN = 1013

REASON_BYTES = 123
"""What a close frame holds beside its code (RFC 6455)."""

_encode = msgspec.json.Encoder().encode
_logger = structlog.get_logger(__name__)


class PhaseWork(Protocol):
    """What an upload has to do with its phase (`tasks.actions`)."""

    async def lease(self, lease_id: LeaseId) -> LeaseRecord:
        """A lease, present or past.

        Raises:
            NotFoundError: there is none with this id.
        """
        ...

    async def renew(self, lease: LeaseRecord) -> None:
        """The phase was heard of."""
        ...

    async def record(self, lease: LeaseRecord, chunks: Sequence[Chunk]) -> None:
        """Events of the agent are durable now."""
        ...

    async def command(self, lease: LeaseRecord) -> str:
        """`cancel` or `force_cancel` where the agent is asked to stop, else empty."""
        ...


@dataclass(frozen=True, slots=True)
class UploadDeps:
    """What uploads work with."""

    logs: Logs
    tails: Tails
    work: PhaseWork
    hub: Hub
    clock: Clock


@dataclass(frozen=True, slots=True)
class Closing:
    """With which code a connection is closed, and why."""

    code: int
    why: str

    @property
    def reason(self) -> str:
        """``why``, as much of it as a close frame holds."""
        return self.why.encode()[:REASON_BYTES].decode(errors="ignore")


class Upload:
    """One connection of the holder of ``lease``."""

    def __init__(self, deps: UploadDeps, lease: LeaseRecord, send: Send) -> None:
        self._deps = deps
        self._lease = lease
        self._send = send
        self._waiting: deque[Pending] = deque()
        self._arrived = asyncio.Event()
        self._ahead = 0
        self._room = asyncio.Event()
        self._room.set()
        self._speaking = asyncio.Lock()
        self._last: Ack | None = None
        self._command = ""
        self._renew_at = 0.0

    @property
    def task_id(self) -> TaskId:
        """Whose log it is."""
        return self._lease.task_id

    async def run(self, receive: Receive) -> None:
        """Take uploads until the agent hangs up or cannot go on."""
        closing: Closing | None = None
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._quietly(self._tell_watched)),
                group.create_task(self._quietly(self._tell_commands)),
                group.create_task(self._quietly(self._tell_orders)),
            ]
            acks = group.create_task(self._acknowledge())
            reading = group.create_task(self._read(receive))
            await asyncio.wait((acks, reading), return_when=asyncio.FIRST_COMPLETED)
            for ended in (acks, reading):
                if ended.done() and not ended.cancelled() and closing is None:
                    closing = ended.result()
            for task in (*beside, acks, reading):
                task.cancel()
        self._deps.tails.forget(self.task_id)
        if closing is not None:
            with suppress(OSError):
                await self._send(
                    {
                        "type": "websocket.close",
                        "code": closing.code,
                        "reason": closing.reason,
                    }
                )

    # --- up ---

    async def _read(self, receive: Receive) -> Closing | None:
        """Read message after message; how to close, None where it is closed."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            closing = await self._take(message)
            if closing is not None:
                return closing

    async def _take(self, message: Message) -> Closing | None:
        try:
            epoch, offset, payload = split_upload(_binary(message))
            pending = await self._offer(epoch, offset, payload)
        except BrokenUploadError as error:
            return self._broken(f"no upload: {error}")
        except NotFoundError as error:
            return self._broken(error.detail)
        except UnavailableError as error:
            return Closing(CLOSE_TRY_AGAIN, error.detail)
        self._waiting.append(pending)
        self._arrived.set()
        self._weigh(pending.size)
        await self._renew()
        await self._room.wait()
        return None

    def _broken(self, why: str) -> Closing:
        _logger.warning("upload broken", task_id=self.task_id, reason=why)
        return Closing(CLOSE_BROKEN, why)

    async def _offer(self, epoch: int, offset: int, payload: bytes) -> Pending:
        if epoch != self._lease.epoch:
            # another lease's number: the log says the same, unless it has not moved yet
            return await self._deps.logs.refuse(self.task_id)
        return await self._deps.logs.offer(self.task_id, epoch, offset, payload)

    async def _renew(self) -> None:
        now = self._deps.clock.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_SECONDS
            await self._tried(self._deps.work.renew(self._lease))

    # --- down ---

    async def _acknowledge(self) -> Closing | None:
        """Answer in order; how to close where that cannot be done."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            pending = self._waiting.popleft()
            try:
                ack = await pending.ack()
            except UnavailableError as error:
                return Closing(CLOSE_TRY_AGAIN, error.detail)
            except SluiceError as error:
                return Closing(CLOSE_REFUSED, error.detail)
            self._weigh(-pending.size)
            if not self._next_says_more(ack):
                await self._say(ack)
            if pending.events and ack.status in {AckStatus.OK, AckStatus.FULL}:
                await self._tried(self._deps.work.record(self._lease, pending.events))

    def _weigh(self, change: int) -> None:
        self._ahead += change
        if self._ahead < AHEAD_BYTES and len(self._waiting) < AHEAD_MESSAGES:
            self._room.set()
        else:
            self._room.clear()

    def _next_says_more(self, ack: Ack) -> bool:
        """Whether the next answer is known already and includes this one."""
        if ack.status is not AckStatus.OK or self._last is None:
            return False
        return bool(self._waiting) and self._waiting[0].done

    async def _say(self, ack: Ack) -> None:
        async with self._speaking:
            self._last = msgspec.structs.replace(ack, command=self._command)
            await self._speak(self._last)

    async def _push(self) -> None:
        """Say again where the log stands, if something else has changed."""
        async with self._speaking:
            last = self._last
            if last is None or last.status is not AckStatus.OK:
                return
            watched = self._deps.logs.watched(self.task_id)
            if (watched, self._command) != (last.watched, last.command):
                self._last = msgspec.structs.replace(
                    last, watched=watched, command=self._command
                )
                await self._speak(self._last)

    async def _speak(self, ack: Ack) -> None:
        # an agent that has gone is noticed by who reads from it
        with suppress(OSError):
            text = _encode(ack).decode()
            await self._send({"type": "websocket.send", "text": text})

    async def _tell_watched(self) -> None:
        """Tell the agent when somebody begins or ceases to read along."""
        with self._deps.hub.subscribe(watch_topic(self.task_id)) as watching:
            while True:
                if await watching.wait(LOOK_SECONDS):
                    self._deps.tails.watched_elsewhere(self.task_id)
                await self._push()

    async def _tell_commands(self) -> None:
        """Tell the agent when it is asked to stop."""
        with self._deps.hub.subscribe(task_topic(self.task_id)) as changes:
            while True:
                self._command = await self._deps.work.command(self._lease)
                await self._push()
                await changes.wait(LOOK_SECONDS)

    async def _tell_orders(self) -> None:
        """Tell the agent, once each time, to ping: there is an order for it."""
        with self._deps.hub.subscribe(agent_topic(self._lease.agent_id)) as orders:
            while True:
                if await orders.wait(LOOK_SECONDS):
                    await self._ask_for_ping()

    async def _ask_for_ping(self) -> None:
        async with self._speaking:
            last = self._last
            if last is not None and last.status is AckStatus.OK:
                await self._speak(msgspec.structs.replace(last, command=PING_COMMAND))

    async def _quietly(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` again after a fault: it is a convenience, the upload is not."""
        while True:
            await self._tried(work())
            await asyncio.sleep(1.0)

    async def _tried(self, work: Awaitable[None]) -> None:
        try:
            await work
        except SluiceError as error:
            _logger.warning(
                "beside an upload", task_id=self.task_id, reason=error.detail
            )


def _binary(message: Message) -> bytes:
    """A message's bytes.

    Raises:
        BrokenUploadError: it is a text.
    """
    if message.get("text") is not None:
        raise BrokenUploadError("a text message where a binary one is due")
    return message.get("bytes") or b""
