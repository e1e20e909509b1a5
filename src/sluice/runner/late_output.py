"""Delivers output that was captured before the lease ended and never reached the server.

The log belongs to others by then: the server keeps these lines beside it. Tried for a
while and no longer; the phase's files are put away in any case, with all output in them.
"""

import asyncio

import structlog

from sluice.base.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
)
from sluice.client.errors import ApiError
from sluice.runner.backoff import Backoff
from sluice.runner.phase_dir import PhaseDir
from sluice.runner.spool import SpoolError, SpoolReader
from sluice.runner.workplace import Workplace
from sluice.wire.agent import PhaseOrder
from sluice.wire.chunk import encode_chunk
from sluice.wire.late_output import LateAnswer

MESSAGE_BYTES = 512 * 1024
TRIES = 8
MOVES = 3
"""So often at most does the server name another place to go on."""

_REFUSED = (
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    NotFoundError,
)
_log = structlog.get_logger(__name__)


async def deliver_late(place: Workplace, phase: PhaseDir, order: PhaseOrder) -> None:
    """Hand in what the spool has from before the lease ended, as far as the server takes it."""
    log = _log.bind(task_id=order.task_id, lease_id=order.lease_id)
    try:
        delivered = await _Delivery(place, phase, order).run()
    except (SluiceError, SpoolError, OSError) as error:
        log.warning("late output not delivered", why=str(error))
    else:
        log.info("late output delivered", size=delivered)


class _Delivery:
    """One try to hand in a spool's rest."""

    def __init__(self, place: Workplace, phase: PhaseDir, order: PhaseOrder) -> None:
        self._place = place
        self._phase = phase
        self._order = order

    async def run(self) -> int:
        """Deliver; returns how many bytes were taken."""
        begin = (await self._say(b"")).committed
        reader = SpoolReader(self._phase.spool, self._order.log)
        try:
            return await self._all(reader, begin) - begin
        finally:
            reader.close()

    async def _all(self, reader: SpoolReader, begin: int) -> int:
        """Send message after message; the offset up to which the server has it."""
        at, moves = begin, 0
        reader.seek(at)
        while True:
            reader.refresh()
            chunks = reader.read(MESSAGE_BYTES)
            if not chunks:
                return at
            try:
                answer = await self._say(b"".join(map(encode_chunk, chunks)))
            except ConflictError as error:
                named = error.extra.get("committed")
                moves += 1
                if not isinstance(named, int) or moves > MOVES:
                    raise
                at = named
                reader.seek(at)
                continue
            at = answer.committed
            if not answer.open:
                return at

    async def _say(self, body: bytes) -> LateAnswer:
        """Send one message until it is answered; not for ever."""
        backoff = Backoff(0.5, 15.0)
        order = self._order
        for attempt in range(TRIES):
            session = self._place.session
            try:
                return await self._place.api.late_output(
                    session.token,
                    session.agent_id,
                    order.task_id,
                    lease_id=order.lease_id,
                    body=body,
                )
            except _REFUSED:
                raise
            except SluiceError:
                if attempt == TRIES - 1:
                    raise
            await asyncio.sleep(backoff.delay())
        raise AssertionError("the last attempt returns or raises")
