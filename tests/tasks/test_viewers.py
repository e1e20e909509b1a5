"""Limits of live streams."""

import pytest

from sluice.base.errors import RateLimitedError
from sluice.base.ids import TaskId
from sluice.tasks.viewers import Admission, StreamLimits, Visitor
from tests.tasks.world import TurnedClock

LIMITS = StreamLimits(viewers_per_task=2, streams_per_user=3, new_per_minute=4)


def visitor(task: str = "t", user: str = "u", address: str = "a") -> Visitor:
    return Visitor(TaskId(task), user, address)


def admitting() -> tuple[Admission, TurnedClock]:
    clock = TurnedClock()
    return Admission(LIMITS, clock), clock


def test_a_task_has_so_many_viewers() -> None:
    admission, _ = admitting()
    for number in range(2):
        admission.enter(visitor(user=f"u{number}"))
    with pytest.raises(RateLimitedError, match="stream_viewers_per_task"):
        admission.enter(visitor(user="u9"))
    admission.leave(visitor(user="u0"))
    admission.enter(visitor(user="u9"))


def test_a_user_has_so_many_streams() -> None:
    admission, _ = admitting()
    for number in range(3):
        admission.enter(visitor(task=f"t{number}"))
    with pytest.raises(RateLimitedError, match="streams_per_user"):
        admission.enter(visitor(task="t9"))
    admission.enter(visitor(task="t9", user="other"))


def test_an_address_opens_so_many_a_minute() -> None:
    admission, clock = admitting()
    for number in range(4):
        admission.enter(visitor(task=f"t{number}", user=f"u{number}"))
        clock.turn(seconds=10)
    with pytest.raises(RateLimitedError, match="per_address") as refused:
        admission.enter(visitor(task="t9", user="u9"))
    assert refused.value.extra["retry_after"] == pytest.approx(20)
    admission.enter(visitor(task="t9", user="u9", address="b"))
    clock.turn(seconds=21)
    admission.enter(visitor(task="t8", user="u8"))


def test_what_was_refused_is_not_counted() -> None:
    admission, clock = admitting()
    for _ in range(2):
        admission.enter(visitor())
    for _ in range(50):
        with pytest.raises(RateLimitedError):
            admission.enter(visitor())
    clock.turn(seconds=61)
    admission.leave(visitor())
    admission.leave(visitor())
    for _ in range(2):
        admission.enter(visitor())


def test_what_was_refused_costs_the_address_nothing() -> None:
    admission, _ = admitting()
    for number in range(3):
        admission.enter(visitor(task=f"t{number}"))
    for _ in range(50):
        with pytest.raises(RateLimitedError, match="streams_per_user"):
            admission.enter(visitor(task="t9"))
    # the fourth of four that the address may open
    admission.enter(visitor(task="t9", user="other"))


def test_many_addresses_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.tasks.viewers._ADDRESSES", 100)
    admission, _ = admitting()
    for number in range(5000):
        one = visitor(task=f"t{number}", user=f"u{number}", address=f"a{number}")
        admission.enter(one)
        admission.leave(one)
    assert len(admission._recent) <= 101


def test_a_script_has_a_limit_of_its_own() -> None:
    limits = StreamLimits(viewers_per_task=100, viewers_per_script=1)
    admission = Admission(limits, TurnedClock())
    script = Visitor(TaskId("t"), "u", "a", script=True)
    admission.enter(script)
    with pytest.raises(RateLimitedError, match="log_max_clients_per_task"):
        admission.enter(script)
    admission.leave(script)
    admission.enter(script)
