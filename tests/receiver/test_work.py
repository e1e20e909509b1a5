"""The work on one call, with a reviewer that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sluice.receiver.calls import read_call
from sluice.receiver.jobs import Jobs, Taken
from sluice.receiver.model import Review
from sluice.receiver.platform_client import Patience, PlatformClient, open_client
from sluice.receiver.ports import Order, ReviewError
from sluice.receiver.work import Limits, Worker
from sluice.wire.run_task import RunTaskStage, encode_payload
from tests.receiver.far_platform import FarPlatform
from tests.receiver.plans import plan_json

QUICK = Patience(seconds=1.0, first=0.01, longest=0.05)
FINE = Review(passed=True, message="fine")


class Reviewer:
    """Does what it was made with."""

    def __init__(self, act: Callable[[Order], Review]) -> None:
        self.act = act
        self.go_on = asyncio.Event()

    async def review(self, order: Order) -> Review:
        """Wait for the test, then act."""
        await self.go_on.wait()
        return self.act(order)


@asynccontextmanager
async def working(reviewer: Reviewer, *, seconds: float = 30) -> AsyncIterator[Worker]:
    """A worker that tells of its progress ten times a second."""
    async with open_client() as client:
        yield Worker(
            PlatformClient(client, patience=QUICK, max_plan_bytes=10_000),
            reviewer,
            stages=frozenset({RunTaskStage.POST_PLAN}),
            limits=Limits(seconds=seconds, tell_seconds=0.1),
            at_once=1,
        )


def asked(platform: FarPlatform, name: str = "r", **more: object) -> bytes:
    """The body of a call."""
    return encode_payload(platform.asks(name, plan_json(), **more))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_progress_is_told_again_and_again(platform: FarPlatform) -> None:
    reviewer = Reviewer(lambda order: FINE)
    async with working(reviewer) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.work(read_call(asked(platform))))
        await until(lambda: len(platform.of("r")) >= 5)
        reviewer.go_on.set()
    told = [one.status for one in platform.of("r")]
    assert told[-1] == "passed"
    assert set(told[:-1]) == {"running"}
    assert platform.of("r")[0].message == "Fetching the plan."


def fault(order: Order) -> Review:
    """A mistake in the program."""
    raise RuntimeError("a secret of the plan")


def no_review(order: Order) -> Review:
    """A review that cannot be made."""
    raise ReviewError("The scanner is not there.")


@pytest.mark.parametrize(
    ("act", "told"),
    [(fault, "A fault in the service"), (no_review, "The scanner is not there.")],
)
async def test_a_review_that_breaks_fails_in_words(
    platform: FarPlatform, act: Callable[[Order], Review], told: str
) -> None:
    reviewer = Reviewer(act)
    reviewer.go_on.set()
    async with working(reviewer) as worker:
        await worker.work(read_call(asked(platform)))
    verdict = platform.verdict("r")
    assert verdict.status == "failed"
    assert told in verdict.message
    assert "secret" not in verdict.message


async def test_a_review_has_its_time(platform: FarPlatform) -> None:
    async with working(Reviewer(lambda order: FINE), seconds=0.2) as worker:
        await worker.work(read_call(asked(platform)))
    assert "longer than 0.2 s" in platform.verdict("r").message


async def test_an_answer_that_is_refused_is_given_up(platform: FarPlatform) -> None:
    reviewer = Reviewer(lambda order: FINE)
    reviewer.go_on.set()
    async with working(reviewer) as worker:
        with pytest.raises(ReviewError, match="refused \\(HTTP 422\\)"):
            await worker.work(read_call(asked(platform, refuse_callbacks=[422])))
        with pytest.raises(ReviewError, match="did not get through"):
            await worker.work(
                read_call(asked(platform, "s", refuse_callbacks=[503] * 1000))
            )


async def test_jobs_are_bounded_and_lost_answers_are_asked_for_again(
    platform: FarPlatform,
) -> None:
    reviewer = Reviewer(lambda order: FINE)
    async with working(reviewer) as worker, asyncio.TaskGroup() as group:
        jobs = Jobs(worker.work, group, most=2)
        lost = read_call(asked(platform, "lost", refuse_callbacks=[422]))
        kept = read_call(asked(platform, "kept"))
        more = read_call(asked(platform, "more"))
        assert [jobs.take(one) for one in (lost, kept, lost, more)] == [
            Taken.NEW,
            Taken.NEW,
            Taken.UNDER_WAY,
            Taken.FULL,
        ]
        reviewer.go_on.set()
        await until(lambda: jobs.take(kept) is Taken.ANSWERED)
        await until(lambda: jobs.take(lost) is Taken.NEW)
        await until(lambda: jobs.take(lost) is Taken.ANSWERED)
        await jobs.drain(30, asyncio.Event())
        assert jobs.take(more) is Taken.STOPPING
    assert platform.verdict("lost").status == "passed"
