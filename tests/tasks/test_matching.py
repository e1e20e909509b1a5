"""Which agent may take which work."""

from typing import Any

import pytest

from sluice.base.ids import AgentId, PoolId
from sluice.tasks.matching import (
    Claimant,
    ClaimFacts,
    Holding,
    Overview,
    Work,
    room,
    serves,
    takers,
)
from sluice.wire.agent import PhaseName, Slots
from tests.tasks.factory import ORG, OTHER_ORG, make_task

POOL, OTHER = PoolId("pool-1"), PoolId("pool-2")
IDC1 = {"region": "idc1"}
MANY = Slots(plan=9, apply=9)
NOTHING = Slots()


@pytest.mark.parametrize(
    ("pool_id", "labels", "fields", "served"),
    [
        (POOL, {}, {}, True),
        (POOL, IDC1, {}, True),
        (POOL, {}, {"pool_id": POOL}, True),
        (OTHER, {}, {"pool_id": POOL}, False),
        (OTHER, IDC1, {"pool_id": POOL, "labels": IDC1}, False),
        (POOL, {}, {"pool_id": POOL, "labels": IDC1}, True),
        (POOL, IDC1, {"labels": IDC1}, True),
        (POOL, IDC1 | {"gpu": "yes"}, {"labels": IDC1}, True),
        (POOL, IDC1, {"labels": IDC1 | {"gpu": "yes"}}, False),
        (POOL, {"region": "idc2"}, {"labels": IDC1}, False),
        (POOL, {}, {"labels": IDC1}, False),
    ],
)
def test_a_task_goes_to_its_pool_or_to_any_with_its_labels(
    pool_id: PoolId, labels: dict[str, str], fields: dict[str, Any], *, served: bool
) -> None:
    assert serves(pool_id, labels, make_task(**fields)) is served


def facts(limit: int = 3, *, beside: bool = False, takes: bool = True) -> ClaimFacts:
    return ClaimFacts(POOL, ORG, {}, limit, beside, takes)


BESIDE = facts(beside=True)


@pytest.mark.parametrize(
    ("known", "holds", "slots", "left"),
    [
        # never more than was asked for, nor than the pool allows
        (facts(), Holding(), NOTHING, NOTHING),
        (facts(), Holding(), Slots(plan=2), Slots(plan=2)),
        (facts(), Holding(), Slots(apply=1), Slots(apply=1)),
        (facts(), Holding(), MANY, Slots(plan=3, apply=1)),
        (facts(), Holding(plans=2), MANY, Slots(plan=1, apply=1)),
        (facts(), Holding(plans=3), MANY, Slots(apply=1)),
        (facts(), Holding(plans=3), Slots(plan=9), NOTHING),
        # the limit was lowered
        (facts(limit=1), Holding(plans=3), MANY, Slots(apply=1)),
        (facts(limit=0), Holding(), MANY, Slots(apply=1)),
        # nothing is begun beside an apply, lost ones included
        (facts(), Holding(applies=1), MANY, NOTHING),
        (facts(), Holding(plans=1, applies=1), MANY, NOTHING),
        # unless the pool allows it; then still one apply at a time
        (BESIDE, Holding(applies=1), MANY, Slots(plan=3)),
        (BESIDE, Holding(plans=2, applies=1), MANY, Slots(plan=1)),
        (BESIDE, Holding(applies=1), Slots(apply=1), NOTHING),
        (BESIDE, Holding(applies=2), MANY, Slots(plan=3)),
        # an agent that is to drain
        (facts(takes=False), Holding(), MANY, NOTHING),
        (facts(beside=True, takes=False), Holding(applies=1), MANY, NOTHING),
    ],
)
def test_room(known: ClaimFacts, holds: Holding, slots: Slots, left: Slots) -> None:
    assert room(known, holds, slots) == left


def test_a_script_counts_as_a_plan() -> None:
    held = Holding().plus(PhaseName.SCRIPT, 2).plus(PhaseName.PLAN, 1)
    assert held == Holding(plans=3)
    assert held.plus(PhaseName.APPLY, 1) == Holding(plans=3, applies=1)


def agent(name: str, pool_id: PoolId = POOL, slots: Slots = MANY) -> Claimant:
    return Claimant(AgentId(name), ORG, pool_id, slots)


def work(count: int, **fields: Any) -> Work:
    given: dict[str, Any] = {
        "organization_id": ORG,
        "pool_id": None,
        "labels": {},
        "apply": False,
        "count": count,
    }
    return Work(**(given | fields))


A, B, C = agent("a"), agent("b"), agent("c", OTHER)
LABELS = {OTHER: IDC1}


@pytest.mark.parametrize(
    ("claimants", "works", "chosen"),
    [
        ([A, B, C], [], []),
        ([A, B, C], [work(2)], [A, B]),
        ([C, B, A], [work(5)], [C, B, A]),
        ([A, B, C], [work(1, pool_id=OTHER)], [C]),
        ([A, B, C], [work(2, labels=IDC1)], [C]),
        ([A, B, C], [work(1, labels=IDC1), work(1)], [A, C]),
        ([A, B], [work(5, organization_id=OTHER_ORG)], []),
        ([agent("d", slots=Slots(plan=1)), A], [work(1, apply=True)], [A]),
        ([agent("d", slots=Slots(apply=1)), A], [work(1)], [A]),
        # an agent that asks twice is given one thing, then looked at anew
        ([A, agent("a", slots=Slots(plan=1)), B], [work(3)], [A, B]),
    ],
)
def test_who_is_given_something_first_come_first(
    claimants: list[Claimant], works: list[Work], chosen: list[Claimant]
) -> None:
    assert takers(claimants, Overview(works), LABELS) == chosen


def test_behind_a_long_queue_everybody_looks() -> None:
    head = Overview([work(1, pool_id=OTHER)], whole=False)
    assert takers([A, B, C, A], head, LABELS) == [C, A, B]
