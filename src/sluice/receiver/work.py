"""Works on one call: tells of its progress, reviews, and hands the review over."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from sluice.receiver.calls import Call
from sluice.receiver.model import Review, failed
from sluice.receiver.platform_client import OverError, PlatformClient
from sluice.receiver.ports import Order, Reviewer, ReviewError
from sluice.wire.run_task import RunTaskStage

_log = structlog.get_logger(__name__)
_LAST_WORDS_SECONDS = 5.0
_STOPPED = failed(
    "The service was stopped before it had looked at everything; start the task again."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one review may take.

    Attributes:
        seconds: for the review itself.
        tell_seconds: the platform hears of it at least this often.
    """

    seconds: float = 600.0
    tell_seconds: float = 20.0


class Progress:
    """What a review does now, in words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._changed = asyncio.Event()

    def say(self, text: str) -> None:
        """It does something else now."""
        if text != self.text:
            self.text = text
            self._changed.set()

    async def news(self, seconds: float) -> str:
        """The text: at once where it is new, else after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
        return self.text


class Worker:
    """Does the work of calls, so many at a time.

    Args:
        platform: for the callbacks and plans.
        reviewer: who looks at plans.
        stages: gates at which it answers; at others it fails, in words.
        limits: what one review may take.
        at_once: how many reviews may run at a time.
    """

    def __init__(
        self,
        platform: PlatformClient,
        reviewer: Reviewer,
        *,
        stages: frozenset[RunTaskStage],
        limits: Limits,
        at_once: int,
    ) -> None:
        self._platform = platform
        self._reviewer = reviewer
        self._stages = stages
        self._limits = limits
        self._slots = asyncio.Semaphore(at_once)

    async def work(self, call: Call) -> None:
        """Answer a call, whatever happens; canceled, it says that it was stopped.

        Raises:
            ReviewError: the platform did not take the answer.
        """
        log = _log.bind(result=call.task_result_id, stage=call.stage, run=call.run_id)
        try:
            review = await self._told(call)
            await self._platform.finish(call, review)
        except OverError as error:
            log.info("the platform waits no more", answer=str(error))
            return
        log.info("answered", passed=review.passed, findings=len(review.outcomes))

    async def _told(self, call: Call) -> Review:
        """The review, its progress told meanwhile."""
        progress = Progress("Waiting for other reviews to end.")
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell(call, progress))
                review = await self._reviewed(call, progress)
                telling.cancel()
        except asyncio.CancelledError:
            await self._last_words(call)
            raise
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return review

    async def _tell(self, call: Call, progress: Progress) -> None:
        while True:
            text = await progress.news(self._limits.tell_seconds)
            await self._platform.tell(call, text)

    async def _last_words(self, call: Call) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._platform.finish_once(call, _STOPPED)
        except (OverError, ReviewError, TimeoutError) as error:
            _log.info("last words were not heard", error=str(error))

    async def _reviewed(self, call: Call, progress: Progress) -> Review:
        """The review; one that says why where there is none."""
        if call.stage not in self._stages:
            answered = ", ".join(sorted(self._stages))
            return failed(
                f"This service answers at {answered}; its run task is attached at"
                f" {call.stage}. Attach it where it answers, or start it with"
                f" --stage {call.stage}."
            )
        try:
            async with self._slots:
                return await self._review(call, progress)
        except ReviewError as error:
            return failed(str(error))
        except TimeoutError:
            return failed(
                f"The review took longer than {self._limits.seconds:g} s and was stopped."
            )
        except Exception:  # noqa: BLE001 - a fault fails one review, not the service
            _log.exception("a review failed", result=call.task_result_id)
            return failed("A fault in the service; its log has the error.")

    async def _review(self, call: Call, progress: Progress) -> Review:
        with tempfile.TemporaryDirectory(prefix="sluice-run-task-") as name:
            directory = Path(name)
            plan = None
            if call.stage != RunTaskStage.PRE_PLAN:
                plan = directory / "plan.json"
                progress.say("Fetching the plan.")
                await self._platform.fetch_plan(call, plan)
            order = Order(call=call, directory=directory, plan=plan, say=progress.say)
            async with asyncio.timeout(self._limits.seconds):
                return await self._reviewer.review(order)
