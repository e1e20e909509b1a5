"""The pure rules of agents: versions, identities, presence, and what a ping is answered with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.agents.identity import candidates
from sluice.agents.model import Agent
from sluice.agents.orders import drain_orders
from sluice.agents.presence import has_room, is_alive, state_of, takes_work
from sluice.agents.skew import Skew, skew_of
from sluice.base.ids import AgentId, PoolId
from sluice.wire.agent import CommandType, PingRequest, RegisterRequest
from sluice.wire.shapes.pools import AgentState

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
AWAY = NOW - timedelta(seconds=36)


def agent(name: str = "a", **fields: Any) -> Agent:
    made = Agent(
        id=AgentId(f"agent-{name}"),
        pool_id=PoolId("pool-1"),
        name=name,
        version="1.4.0",
        registered_at=NOW,
        last_seen_at=NOW,
        plan_task_limit=3,
    )
    return replace(made, **fields)


# --- versions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "fits", "advice"),
    [
        ("1.4.0", True, ""),
        ("1.4.9", True, ""),
        ("v1.4.1", True, ""),
        ("1.4.0.dev7+gabc123", True, ""),
        ("1.4.0rc1", True, ""),
        ("1.4", True, ""),
        ("1.5.0", True, ""),
        ("1.5.0.dev1", True, ""),
        ("1.3.0", True, "upgrade it to 1.4.2"),
        ("1.3.99", True, "one minor version older"),
        ("1.2.9", False, "Upgrade the agent to 1.4.2"),
        ("0.4.2", False, "too old"),
        ("0.9.0", False, "too old"),
        ("1.6.0", False, "Upgrade the server first"),
        ("2.4.2", False, "too new"),
        ("1.14.0", False, "too new"),
        ("", True, "tells no version"),
        ("soon", True, "tells the version 'soon'"),
        ("1", True, "nobody knows"),
    ],
)
def test_one_minor_version_of_difference_works(
    theirs: str, fits: bool, advice: str
) -> None:
    skew = skew_of(theirs, "1.4.2")
    assert skew.fits is fits
    assert advice in skew.advice
    assert bool(advice) is bool(skew.advice)


def test_a_server_of_no_readable_version_refuses_nobody() -> None:
    assert skew_of("1.2.3", "unknown") == Skew()


_MINOR = st.integers(0, 30)


@given(_MINOR, _MINOR)
def test_who_fits_is_the_same_from_both_sides(one: int, other: int) -> None:
    there, back = f"3.{one}.1", f"3.{other}.0"
    assert skew_of(there, back).fits == skew_of(back, there).fits
    assert skew_of(there, back).fits is (abs(one - other) <= 1)


@given(st.text(max_size=300))
def test_any_text_is_a_version_of_some_kind(text: str) -> None:
    skew = skew_of(text, "1.4.2")
    assert skew.fits or skew.advice
    assert len(skew.advice) < 1000


# --- identities --------------------------------------------------------------------


def asking(**fields: Any) -> RegisterRequest:
    return RegisterRequest.model_validate({"name": "a", "version": "1.4.0", **fields})


def offered(known: Agent | None, *namesakes: Agent, **fields: Any) -> list[str]:
    return [one.id for one in candidates(asking(**fields), known, namesakes, NOW)]


def test_the_kept_id_comes_first() -> None:
    mine, other = agent("mine"), agent("other", last_seen_at=AWAY)
    assert offered(mine, other) == ["agent-mine", "agent-other"]
    assert offered(replace(mine, last_seen_at=AWAY), other)[0] == "agent-mine"
    assert offered(None) == []


def test_a_living_namesake_is_somebody_else() -> None:
    assert offered(None, agent("x"), agent("y", last_seen_at=AWAY)) == ["agent-y"]


@pytest.mark.parametrize(
    ("theirs", "mine", "alive", "taken_up"),
    [
        ("dir-1", "dir-1", True, True),
        ("dir-1", "dir-2", True, False),
        ("dir-1", "dir-2", False, True),
        ("", "dir-2", True, True),
        ("dir-1", "", True, True),
    ],
)
def test_a_kept_id_that_another_uses_is_not_taken_from_it(
    theirs: str, mine: str, alive: bool, taken_up: bool
) -> None:
    known = agent(instance=theirs, last_seen_at=NOW if alive else AWAY)
    assert bool(offered(known, instance=mine)) is taken_up


# --- presence ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "state", "room"),
    [
        ({}, AgentState.IDLE, True),
        ({"busy": True, "plan_tasks_running": 2}, AgentState.BUSY, True),
        ({"busy": True, "plan_tasks_running": 3}, AgentState.BUSY, False),
        ({"busy": True, "apply_task_running": True}, AgentState.BUSY, False),
        ({"draining": True}, AgentState.DRAINING, False),
        ({"drain_requested": True}, AgentState.DRAINING, False),
        ({"drain_requested": True, "busy": True}, AgentState.DRAINING, False),
    ],
)
def test_how_an_agent_stands(
    fields: dict[str, Any], state: AgentState, room: bool
) -> None:
    one = agent(**fields)
    assert state_of(one, NOW) is state
    assert has_room(one) is room
    assert takes_work(one) is (state is not AgentState.DRAINING)
    assert state_of(replace(one, last_seen_at=AWAY), NOW) is AgentState.OFFLINE


def test_three_pings_may_be_late() -> None:
    assert is_alive(agent(last_seen_at=NOW - timedelta(seconds=35)), NOW)
    assert not is_alive(agent(last_seen_at=AWAY), NOW)


# --- what a ping is answered with --------------------------------------------------

FITS = Skew()
LEFT = Skew(fits=False, advice="too old")


@pytest.mark.parametrize(
    ("asked", "skew", "draining", "ending", "order"),
    [
        (False, FITS, False, False, None),
        (True, FITS, False, False, CommandType.DRAIN),
        (True, FITS, True, False, None),
        (False, FITS, True, False, CommandType.RESUME),
        (False, FITS, True, True, None),
        (True, FITS, True, True, None),
        (False, LEFT, False, False, CommandType.DRAIN),
        (False, LEFT, True, False, None),
        (True, LEFT, False, False, CommandType.DRAIN),
    ],
)
def test_a_ping_is_answered_by_what_differs(
    asked: bool, skew: Skew, draining: bool, ending: bool, order: CommandType | None
) -> None:
    said = PingRequest(agent_id="agent-a", busy=False, draining=draining, ending=ending)
    orders = drain_orders(agent(drain_requested=asked), said, skew)
    assert [one.type for one in orders] == ([order] if order else [])


def test_an_order_says_who_asks_and_why() -> None:
    said = PingRequest(agent_id="agent-a", busy=False)
    by_ann = agent(drain_requested=True, drain_by="ann", drain_reason="a new disk")
    (order,) = drain_orders(by_ann, said, FITS)
    assert order.reason == "ann: a new disk"
    (order,) = drain_orders(replace(by_ann, drain_reason=""), said, FITS)
    assert order.reason == "ann"
    (order,) = drain_orders(agent(), said, LEFT)
    assert order.reason == "too old"
