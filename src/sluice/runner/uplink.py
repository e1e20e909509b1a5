"""Carries a phase's spool to the server: sends what is not acknowledged, until all of it is.

The rules of the conversation are `wire.log_flow.Sender`'s; how messages travel is
`uplink_carriers`' part. Nothing here holds output in memory beyond the message being sent:
what is not acknowledged lies in the spool, and after any failure the server's committed
offset says where to go on.
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from sluice.base.clock import Clock
from sluice.base.errors import FencedError
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolError, SpoolReader
from sluice.wire.agent import LogEnd, LogPosition
from sluice.wire.chunk import MAX_CATCH_UP, MAX_LIVE, encode_chunk
from sluice.wire.log_flow import (
    UNWATCHED_SECONDS,
    Ack,
    AckStatus,
    Send,
    StreamMode,
    Wait,
    new_sender,
    next_step,
    on_ack,
    on_disconnect,
    on_sent,
)
from sluice.wire.log_flow import Stop as MustStop

PREFIX = struct.Struct("<QQ")
POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 5.0
RHYTHM_SECONDS = 0.05
WAKE_BYTES = 64 * 1024

Carry = Callable[[bytes], Awaitable[None]]


class Outcome(Enum):
    """How a conversation ended."""

    COMPLETE = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How an upload goes while nobody watches.

    Attributes:
        seconds: between two messages.
        lines: so many are sent before the time is up; None: only bytes count.
        held_lines: about so many are held in memory; None: only bytes count.
    """

    seconds: float = UNWATCHED_SECONDS
    lines: int | None = None
    held_lines: int | None = None


class Uplink:
    """One phase's upload. Run `converse` over one connection after another.

    Args:
        phase: the phase's files.
        base: where in the task's log the phase begins, and its fencing number.
        clock: for the rhythm.
        on_command: told when the server asks the phase to stop.
        mode: a forced rhythm, or `auto`.
        rhythm: how it goes while nobody watches.

    Attributes:
        opened: the server has answered in the latest conversation.
        watched: somebody reads along.
    """

    def __init__(
        self,
        phase: PhaseDir,
        base: LogPosition,
        *,
        clock: Clock,
        on_command: Callable[[str], None],
        mode: StreamMode = StreamMode.AUTO,
        rhythm: Rhythm | None = None,
    ) -> None:
        self.opened = False
        self._rhythm = rhythm = rhythm or Rhythm()
        self._phase = phase
        self._clock = clock
        self._on_command = on_command
        self._reader = SpoolReader(phase.spool, base, held_lines=rhythm.held_lines)
        start = self._reader.position
        self._sender = new_sender(
            epoch=base.epoch,
            base=start,
            mode=mode,
            unwatched_seconds=rhythm.seconds,
        )
        self._wake = phase.open_wake()
        self._armed = False
        self._lost = False
        self._stirred = asyncio.Event()
        self._spoken_at = 0.0
        self._poll = POLL_SECONDS

    def close(self) -> None:
        """Let go of the spool and the FIFO."""
        self._disarm()
        self._reader.close()
        os.close(self._wake)

    @property
    def watched(self) -> bool:
        """Somebody reads along, as last heard."""
        return self._sender.watched

    @property
    def waiting_bytes(self) -> int:
        """How much is in the spool, as far as was looked, and not on the server."""
        return self._reader.end - self._sender.acked

    @property
    def damaged(self) -> str:
        """Why the rest of the spool cannot be read; empty while all is well."""
        return self._reader.damaged

    def log_end(self) -> LogEnd:
        """Where the phase's log ends; reads the spool, so call it in a thread."""
        return self._reader.log_end()

    def stir(self) -> None:
        """Look at the spool now: something has changed beside it."""
        self._stirred.set()

    def lose(self) -> None:
        """The connection is gone; `converse` returns."""
        self._lost = True
        self._stirred.set()

    async def converse(
        self, carry: Carry, *, probe_seconds: float | None = None
    ) -> Outcome:
        """Talk over a connection that is up, until all is acknowledged or it is lost.

        Whoever receives on the connection calls `answer` and `lose`. When cancelled,
        nothing is lost: the spool holds what was not acknowledged.

        Args:
            carry: puts one message on the wire.
            probe_seconds: ask for the server's view after so much silence, where it
                cannot speak unasked.

        Raises:
            FencedError: this lease has no right to go on, or the spool cannot serve what
                the server asks for.
        """
        self._lost = self.opened = False
        self._sender = on_disconnect(self._sender)
        try:
            await self._probe(carry)
            while not self._lost:
                if await self._step(carry, probe_seconds):
                    return Outcome.COMPLETE
            return Outcome.LOST
        finally:
            self._disarm()
            self._sender = on_disconnect(self._sender)

    def answer(self, ack: Ack) -> None:
        """Take in what the server said."""
        self.opened = True
        if ack.status is AckStatus.CORRUPT:
            self.lose()  # come back after a pause rather than send the same at once
        if ack.status is AckStatus.FULL and isinstance(ack.limit, int):
            with contextlib.suppress(SpoolError):
                self._reader.cap(limit=ack.limit, committed=ack.committed)
        if ack.status is AckStatus.OK and ack.committed > self._reader.end:
            # Acknowledged to an earlier run of the agent, beyond what was looked at yet.
            with contextlib.suppress(SpoolError):
                self._reader.seek(ack.committed)
        self._sender = on_ack(self._sender, ack, end=self._reader.end)
        if not self._sender.stopped:
            self._reader.release(self._sender.acked)
        if ack.command:
            self._on_command(ack.command)
        self._stirred.set()

    async def _step(self, carry: Carry, probe_seconds: float | None) -> bool:
        """Do the next thing; returns whether all is done."""
        self._stirred.clear()
        # Asked for first: the result is the last thing a job writes.
        complete = self._job_has_ended()
        end = self._reader.refresh()
        if self._reader.capped:
            # dropped output needs no answer, and its segments can go
            self._reader.release(self._sender.acked)
        complete = complete and not self._reader.behind
        now = self._clock.monotonic()
        flush = complete or self._batch_is_full()
        step = next_step(self._sender, end=end, now=now, flush=flush)
        match step:
            case MustStop(reason=reason):
                raise FencedError(f"The upload of the log must stop: {reason}.")
            case Send(offset=offset, limit=limit):
                await self._send(carry, offset, limit)
            case Wait(seconds=seconds):
                if complete and self._sender.open and self._sender.acked == end:
                    return True
                silence = probe_seconds or float("inf")
                rest = self._spoken_at + silence - now
                if self._reader.behind:
                    await asyncio.sleep(0)
                elif rest <= 0:
                    await self._probe(carry)
                else:
                    await self._pause(seconds, rest)
            case _:
                assert_never(step)
        return False

    def _batch_is_full(self) -> bool:
        lines = self._rhythm.lines
        return lines is not None and self._reader.held_lines >= lines

    def _job_has_ended(self) -> bool:
        return self._phase.result.exists()

    async def _send(self, carry: Carry, offset: int, limit: int) -> None:
        if self._reader.position != offset:
            try:
                self._reader.seek(offset)
            except SpoolError as error:
                raise FencedError(
                    f"The upload of the log must stop: {error}."
                ) from None
        behind = self._reader.end - offset > limit
        chunks = self._reader.read(limit, merge_to=MAX_CATCH_UP if behind else MAX_LIVE)
        message = b"".join(
            [PREFIX.pack(self._sender.epoch, offset), *map(encode_chunk, chunks)]
        )
        now = self._clock.monotonic()
        length = chunks[-1].end - offset
        self._sender = on_sent(self._sender, length=length, now=now)
        self._spoken_at = now
        await carry(message)

    async def _probe(self, carry: Carry) -> None:
        self._spoken_at = self._clock.monotonic()
        await carry(PREFIX.pack(self._sender.epoch, self._sender.acked))

    async def _pause(self, seconds: float | None, most: float) -> None:
        """Wait for the spool to grow, an answer, or for ``seconds`` of the rhythm.

        While the rhythm only has to pass, the FIFO is not listened to: at a thousand
        lines a second that would wake the loop a thousand times for nothing. In silence
        the FIFO wakes, and the poll behind it grows rare.
        """
        if seconds is None:
            self._arm()
            longest = min(self._poll, most)
        else:
            longest = min(seconds, RHYTHM_SECONDS)
        try:
            async with asyncio.timeout(longest):
                await self._stirred.wait()
            self._poll = POLL_SECONDS
        except TimeoutError:
            self._poll = min(self._poll * 2, LONGEST_POLL_SECONDS)

    def _arm(self) -> None:
        if not self._armed:
            asyncio.get_running_loop().add_reader(self._wake, self._woken)
            self._armed = True

    def _disarm(self) -> None:
        if self._armed:
            asyncio.get_running_loop().remove_reader(self._wake)
            self._armed = False

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, WAKE_BYTES)
        self._disarm()
        self._stirred.set()
