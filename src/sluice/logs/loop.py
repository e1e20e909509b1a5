"""The group commit: whatever waits, of all logs, goes into one durable transaction.

While one group is being committed the next one gathers, so there is no timer and no
delay of its own. Each log has a share in every group, so a log at full speed does not
hold up another's single line. Stopped, it commits nothing more; senders that got no
answer send again and learn what is there.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

import structlog

from sluice.base.errors import NotFoundError, UnavailableError
from sluice.base.ids import TaskId
from sluice.logs.model import Outcome, RefusedOutputError, Unit
from sluice.logs.ports import ChunkLane
from sluice.wire.log_flow import Head, Offer, Verdict, judge

GROUP_BYTES = 2 * 1024 * 1024
SHARE_BYTES = 512 * 1024
WAITING_BYTES = 32 * 1024 * 1024
TIDY_SECONDS = 0.25

Answer = tuple[Verdict, Head]
_logger = structlog.get_logger(__name__)


class _Waiting:
    """A unit in the queue, and who waits for its verdict."""

    __slots__ = ("answer", "unit")

    def __init__(self, unit: Unit, answer: "asyncio.Future[Answer]") -> None:
        self.unit = unit
        self.answer = answer

    @property
    def size(self) -> int:
        return self.unit.end - self.unit.offset


class GroupCommit:
    """Takes units from many senders and has them stored, in order within each log.

    Args:
        lane: stores a group.
        on_durable: told of each stored unit, before its sender is.
        waiting_bytes: how much may wait; senders beyond it are held back.
    """

    def __init__(
        self,
        lane: ChunkLane,
        *,
        on_durable: Callable[[Unit], None],
        waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        self._lane = lane
        self._on_durable = on_durable
        self._limit = waiting_bytes
        self._queues: dict[TaskId, deque[_Waiting]] = {}
        self._bytes = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._running = False
        self.doing = "not started"

    async def offer(self, unit: Unit) -> "asyncio.Future[Answer]":
        """Put a unit in the queue, waiting for room; the future has the verdict.

        Raises:
            UnavailableError: the loop does not run; nothing was stored.
        """
        while not self._room.is_set():
            await self._room.wait()
        if not self._running:
            raise UnavailableError(
                "The server is starting or stopping; send the output again."
            )
        waiting = _Waiting(unit, asyncio.get_running_loop().create_future())
        self._queues.setdefault(unit.task_id, deque()).append(waiting)
        self._weigh(waiting.size)
        self._work.set()
        return waiting.answer

    async def run(self) -> None:
        """Commit group after group until cancelled; then fail what still waits."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tidy(), name="log-tidy")
                while True:
                    self.doing = "waits for output"
                    await self._work.wait()
                    self._work.clear()
                    while self._queues:
                        await self._commit()
        finally:
            self._running = False
            self.doing = "stopped"
            self._fail_all()

    async def _commit(self) -> None:
        taken = self._take()
        units = [_merged(waiting) for waiting in taken.values()]
        self.doing = f"commits output of {len(units)} logs"
        try:
            outcomes = await self._stored(units)
        except Exception as error:  # noqa: BLE001 - the loop outlives a database that is away
            _logger.warning("output could not be stored", reason=str(error))
            for waiting in taken.values():
                _fail(waiting, error)
        except BaseException:
            for waiting in taken.values():
                _fail(waiting, _stopping())
            raise
        else:
            for unit, outcome, waiting in zip(
                units, outcomes, taken.values(), strict=True
            ):
                if isinstance(outcome, RefusedOutputError):
                    _fail(waiting, outcome)
                else:
                    self._settle(unit, outcome, waiting)
        finally:
            self._weigh(-_size(taken))

    async def _stored(self, units: list[Unit]) -> list[Outcome | RefusedOutputError]:
        """What became of each unit; where the database refuses the group, of each alone."""
        try:
            return list(await self._lane.append_many(units))
        except RefusedOutputError as error:
            _logger.warning("output refused", logs=len(units), reason=error.detail)
            if len(units) == 1:
                return [error]
        return [outcome for unit in units for outcome in await self._stored([unit])]

    def _take(self) -> dict[TaskId, list[_Waiting]]:
        """A share of each log, in turn, up to the size of a group."""
        taken: dict[TaskId, list[_Waiting]] = {}
        size = 0
        for task_id in list(self._queues):
            queue = self._queues.pop(task_id)
            taken[task_id] = list(_share(queue))
            size += sum(one.size for one in taken[task_id])
            if queue:
                # at the end of the line: others come first in the next group
                self._queues[task_id] = queue
            if size >= GROUP_BYTES:
                break
        return taken

    def _settle(self, unit: Unit, outcome: Outcome, waiting: list[_Waiting]) -> None:
        if outcome.accepted:
            self._on_durable(unit)
            for one in waiting:
                _answer(one, Verdict.APPEND, unit.after)
            return
        head = outcome.head
        if head is None:
            _fail(waiting, NotFoundError(f"There is no log of {unit.task_id}."))
            return
        for at, one in enumerate(waiting):
            verdict = _verdict(head, one.unit)
            if verdict is Verdict.APPEND:
                # what stood before it in the group was there already: try it alone
                self._again(unit.task_id, waiting[at:])
                return
            _answer(one, verdict, head)

    def _again(self, task_id: TaskId, waiting: list[_Waiting]) -> None:
        queue = self._queues.setdefault(task_id, deque())
        queue.extendleft(reversed(waiting))
        self._weigh(sum(one.size for one in waiting))

    def _weigh(self, change: int) -> None:
        self._bytes += change
        if self._bytes < self._limit:
            self._room.set()
        else:
            self._room.clear()

    def _fail_all(self) -> None:
        for queue in self._queues.values():
            _fail(list(queue), _stopping())
        self._queues.clear()
        self._bytes = 0
        self._room.set()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await self._lane.tidy()
            except UnavailableError as error:
                _logger.warning("housekeeping of the log failed", reason=error.detail)


def _size(taken: dict[TaskId, list[_Waiting]]) -> int:
    return sum(one.size for waiting in taken.values() for one in waiting)


def _share(queue: deque[_Waiting]) -> Iterator[_Waiting]:
    """The units at the queue's front that follow each other, up to a log's share."""
    size = 0
    first = queue[0].unit
    epoch, offset, line = first.epoch, first.offset, first.first_line
    while queue and size < SHARE_BYTES:
        unit = queue[0].unit
        if (unit.epoch, unit.offset, unit.first_line) != (epoch, offset, line):
            return
        size += unit.end - unit.offset
        offset, line = unit.end, unit.next_line
        yield queue.popleft()


def _merged(waiting: list[_Waiting]) -> Unit:
    if len(waiting) == 1:
        return waiting[0].unit
    first, last = waiting[0].unit, waiting[-1].unit
    chunks = tuple(chunk for one in waiting for chunk in one.unit.chunks)
    return Unit(
        first.task_id,
        first.epoch,
        first.offset,
        first.first_line,
        last.end,
        last.next_line,
        chunks,
    )


def _verdict(head: Head, unit: Unit) -> Verdict:
    length = unit.end - unit.offset
    verdict = judge(head, Offer(unit.epoch, unit.offset, length))
    if verdict is Verdict.APPEND and head.next_line != unit.first_line:
        return Verdict.CORRUPT
    return verdict


def _answer(waiting: _Waiting, verdict: Verdict, head: Head) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result((verdict, head))


def _fail(waiting: list[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.answer.done():
            one.answer.set_exception(error)
            # a sender that has gone does not look at it
            one.answer.exception()


def _stopping() -> UnavailableError:
    return UnavailableError("The server is stopping; send the output again.")
