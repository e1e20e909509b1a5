"""Keeps the calls that are worked on: each result once at a time, and not too many."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog

from sluice.receiver.calls import Call
from sluice.receiver.ports import ReviewError

_log = structlog.get_logger(__name__)
_REMEMBERED = 10_000


class Taken(StrEnum):
    """What became of a call."""

    NEW = "new"
    UNDER_WAY = "under way"
    ANSWERED = "answered before"
    FULL = "full"
    STOPPING = "stopping"


class Jobs:
    """The calls that are worked on in the background.

    Args:
        work: works on one call to its end.
        group: owns the work.
        most: how many calls may be open, those that wait included.
    """

    def __init__(
        self,
        work: Callable[[Call], Awaitable[None]],
        group: asyncio.TaskGroup,
        *,
        most: int,
    ) -> None:
        self._work = work
        self._group = group
        self._most = most
        self._open: dict[str, asyncio.Task[None]] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._stopping = False

    def take(self, call: Call) -> Taken:
        """Begin to work on a call that is not worked on already."""
        key = call.task_result_id
        if key in self._open:
            return Taken.UNDER_WAY
        if key in self._answered:
            return Taken.ANSWERED
        if self._stopping:
            return Taken.STOPPING
        if len(self._open) >= self._most:
            return Taken.FULL
        self._open[key] = self._group.create_task(self._job(call))
        return Taken.NEW

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Take nothing more; wait for what is open, then stop what is left.

        Args:
            seconds: how long to wait.
            hurry: set where nobody wants to wait so long.
        """
        self._stopping = True
        if self._open:
            _log.info("waiting for reviews to end", open=len(self._open))
            await self._ended(seconds, hurry)
        for key, task in self._open.items():
            _log.warning("stopped in the middle", result=key)
            task.cancel()

    async def _ended(self, seconds: float, hurry: asyncio.Event) -> None:
        hurried = self._group.create_task(hurry.wait())
        ended = self._group.create_task(self._all_ended())
        await asyncio.wait(
            {hurried, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        ended.cancel()

    async def _all_ended(self) -> None:
        while self._open:
            await asyncio.wait(set(self._open.values()))

    async def _job(self, call: Call) -> None:
        key = call.task_result_id
        try:
            await self._work(call)
        except ReviewError as error:
            _log.error("the answer was lost", result=key, error=str(error))
        except Exception:  # noqa: BLE001 - a fault loses one answer, not the service
            _log.exception("the answer was lost", result=key)
        else:
            self._remember(key)
        finally:
            del self._open[key]

    def _remember(self, key: str) -> None:
        self._answered[key] = None
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
