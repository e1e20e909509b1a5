"""Uploads on their way to the disk, and the acknowledgements that they will get."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from typing_extensions import override

from sluice.logs.loop import Answer
from sluice.logs.model import Unit
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.log_flow import Ack, AckStatus, answer


class Pending:
    """An upload that is on its way to the disk; `ack` waits for it.

    Attributes:
        size: bytes of output in it.
        events: its event chunks.
    """

    def __init__(
        self,
        answer: "asyncio.Future[Answer]",
        watched: Callable[[], bool],
        unit: Unit | None = None,
    ) -> None:
        self._answer = answer
        self._watched = watched
        self.size = 0 if unit is None else unit.end - unit.offset
        self.events = () if unit is None else _events(unit)

    @property
    def done(self) -> bool:
        """Whether `ack` would not wait."""
        return self._answer.done()

    async def ack(self) -> Ack:
        """The acknowledgement, once it is true.

        Raises:
            UnavailableError: the database is away; send again later.
            NotFoundError: there is no such log.
        """
        verdict, head = await self._answer
        return answer(verdict, head, watched=self._watched())


class FullPending(Pending):
    """An upload with output beyond the log's limit: what fits is on its way to the disk.

    Args:
        stored: tells, once asked, what became of the part that fits, and where the log
            stands.
        watched: whether somebody reads along.
        part: what fits.
        limit: the log's limit.
    """

    def __init__(
        self,
        stored: Callable[[], Awaitable[Answer]],
        watched: Callable[[], bool],
        part: Unit,
        limit: int,
    ) -> None:
        super().__init__(asyncio.get_running_loop().create_future(), watched, part)
        self._stored = stored
        self._limit = limit

    @override
    async def ack(self) -> Ack:
        """That the log is full, once what fits is durable; or why that was not stored."""
        verdict, head = await self._stored()
        said = answer(verdict, head, watched=self._watched())
        if said.status is not AckStatus.OK:
            return said
        return msgspec.structs.replace(said, status=AckStatus.FULL, limit=self._limit)


def _events(unit: Unit) -> tuple[Chunk, ...]:
    return tuple(chunk for chunk in unit.chunks if chunk.kind is Kind.EVENT)
