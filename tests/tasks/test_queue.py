"""Whose turn it is, and the words for waiting."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.ids import PoolId
from sluice.tasks.model import Gate, TaskState
from sluice.tasks.queue import (
    PoolFacts,
    WaitFacts,
    claimable,
    has_turn,
    next_phase,
    ordinal,
    waiting_reason,
)
from sluice.wire.agent import PhaseName, Slots
from sluice.wire.shapes.tasks import TaskType
from tests.tasks.factory import NOW, at_gate, make_task, task_lock, user_lock

POOL = PoolFacts(PoolId("pool-1"), "idc1", agents=2, free=1)
BOTH = Slots(plan=1, apply=1)
FIRST = make_task(TaskState.PLANNING, sequence=1)
SECOND = make_task(sequence=2)
THIRD = make_task(sequence=3)
PLAN = make_task(sequence=4, task_type=TaskType.PLAN)
LINE = [FIRST, SECOND, THIRD]


def test_one_task_at_a_time_has_the_turn() -> None:
    assert not has_turn(SECOND, LINE, task_lock(FIRST))
    assert has_turn(SECOND, [SECOND, THIRD], None)
    assert not has_turn(THIRD, [SECOND, THIRD], None)


def test_a_plan_runs_beside_the_lock_holder_and_beside_a_users_lock() -> None:
    assert has_turn(PLAN, LINE, task_lock(FIRST))
    assert has_turn(PLAN, [], user_lock())


def test_a_task_queued_again_goes_on_under_its_own_lock() -> None:
    assert has_turn(SECOND, [SECOND, THIRD], task_lock(SECOND))


@pytest.mark.parametrize(
    ("state", "task_type", "phase"),
    [
        (TaskState.QUEUED, TaskType.PLAN, PhaseName.PLAN),
        (TaskState.QUEUED, TaskType.PLAN_AND_APPLY, PhaseName.PLAN),
        (TaskState.QUEUED, TaskType.APPLY, PhaseName.APPLY),
        (TaskState.APPLY_READY, TaskType.PLAN_AND_APPLY, PhaseName.APPLY),
        (TaskState.APPLY_PENDING, TaskType.PLAN_AND_APPLY, None),
        (TaskState.PLANNING, TaskType.PLAN, None),
        (TaskState.SUCCESS, TaskType.PLAN, None),
    ],
)
def test_the_phase_that_comes_next(
    state: TaskState, task_type: TaskType, phase: PhaseName | None
) -> None:
    task = make_task(state, task_type=task_type)
    assert next_phase(task) is phase
    assert claimable(task, [task], None, BOTH) is (phase is not None)
    assert not claimable(task, [task], None, Slots())
    only_plan = claimable(task, [task], None, Slots(plan=1))
    assert only_plan is (phase is PhaseName.PLAN)


@pytest.mark.parametrize("task_type", [TaskType.PLAN, TaskType.PLAN_AND_APPLY])
def test_nobody_gets_a_phase_before_its_gate(task_type: TaskType) -> None:
    gates = frozenset({Gate.PRE_PLAN})
    task = make_task(task_type=task_type, gates=gates, gate=Gate.PRE_PLAN)
    assert next_phase(task) is None
    assert has_turn(task, [task], None)
    assert not claimable(task, [task], None, BOTH)
    assert next_phase(replace(task, state=TaskState.AT_GATE)) is None
    assert claimable(replace(task, gate=None), [task], None, BOTH)


@pytest.mark.parametrize("gate", Gate)
def test_a_task_at_a_gate_keeps_its_turn_until_it_is_applied(gate: Gate) -> None:
    standing = at_gate(gate, sequence=1)
    applied = gate is Gate.POST_APPLY
    assert has_turn(SECOND, [standing, SECOND], None) is applied
    plan = at_gate(gate, sequence=1, task_type=TaskType.PLAN)
    assert has_turn(SECOND, [plan, SECOND], None)


# --- words -------------------------------------------------------------------


def test_a_task_before_its_gate_waits_for_its_turn_and_for_no_agent() -> None:
    gates = frozenset({Gate.PRE_PLAN})
    task = make_task(sequence=2, gates=gates, gate=Gate.PRE_PLAN)
    assert waiting_reason(task, WaitFacts([task], None, [])) == "comes to pre_plan"
    behind = WaitFacts([FIRST, task], task_lock(FIRST), [])
    assert waiting_reason(task, behind).endswith(f"{FIRST.id} which holds the lock")
    locked = WaitFacts([task], user_lock("ann", "maintenance"), [])
    assert waiting_reason(task, locked) == "workspace is locked by ann: maintenance"


def test_a_task_that_is_applied_is_not_named_as_one_to_wait_for() -> None:
    telling = at_gate(Gate.POST_APPLY, sequence=1)
    facts = WaitFacts([telling, SECOND], None, [POOL])
    assert waiting_reason(SECOND, facts) == "waits for an agent to take it"


def test_the_place_in_the_queue_and_who_holds_the_lock() -> None:
    facts = WaitFacts(LINE, task_lock(FIRST), [POOL])
    assert waiting_reason(SECOND, facts) == (
        f"2nd in the workspace's queue: waits for {FIRST.id} which holds the lock"
    )
    assert waiting_reason(THIRD, facts) == (
        f"3rd in the workspace's queue: waits for {FIRST.id} which holds the lock"
    )


def test_behind_a_task_that_does_not_hold_the_lock_yet() -> None:
    facts = WaitFacts([SECOND, THIRD], None, [POOL])
    assert waiting_reason(THIRD, facts) == (
        f"2nd in the workspace's queue: behind {SECOND.id}"
    )


def test_a_users_lock() -> None:
    facts = WaitFacts([SECOND], user_lock("ann", "maintenance"), [POOL])
    assert waiting_reason(SECOND, facts) == "workspace is locked by ann: maintenance"
    facts = WaitFacts([SECOND], user_lock("ann", ""), [POOL])
    assert waiting_reason(SECOND, facts) == "workspace is locked by ann"


def pool(name: str, agents: int, free: int, **labels: str) -> PoolFacts:
    return PoolFacts(PoolId(f"pool-{name}"), name, agents, free, labels)


NAMED = {"pool_id": PoolId("pool-a")}
LABELED = {"labels": {"region": "idc1", "gpu": "yes"}}


@pytest.mark.parametrize(
    ("fields", "pools", "words"),
    [
        (NAMED, [pool("a", 0, 0), pool("b", 2, 2)], "pool a has no agents; start one"),
        (NAMED, [pool("a", 2, 0), pool("b", 2, 2)], "no agent of pool a is free"),
        (NAMED, [pool("a", 2, 1)], "waits for an agent to take it"),
        (NAMED, [pool("b", 2, 1)], "there is no pool pool-a; name another one"),
        ({}, [], "the organization has no agents; start one with `sluice agent`"),
        ({}, [pool("a", 0, 0)], "the organization has no agents; start one"),
        ({}, [pool("a", 2, 0), pool("b", 1, 0)], "no agent is free"),
        ({}, [pool("a", 2, 0), pool("b", 2, 1)], "waits for an agent to take it"),
        (
            LABELED,
            [pool("a", 2, 2, region="idc1"), pool("b", 2, 2)],
            "no pool has the labels gpu=yes, region=idc1; make one or change the work",
        ),
        (
            LABELED,
            [pool("a", 0, 0, region="idc1", gpu="yes"), pool("b", 2, 2)],
            "the pools with the labels gpu=yes, region=idc1 have no agents; start one",
        ),
        (
            LABELED,
            [pool("a", 1, 0, region="idc1", gpu="yes", os="linux"), pool("b", 2, 2)],
            "no agent of the pools with the labels gpu=yes, region=idc1 is free",
        ),
        (
            LABELED,
            [pool("a", 1, 1, region="idc1", gpu="yes")],
            "waits for an agent to take it",
        ),
    ],
)
def test_agents(fields: dict[str, Any], pools: list[PoolFacts], words: str) -> None:
    for task, line in ((SECOND, [SECOND]), (PLAN, LINE)):
        waiting = replace(task, **fields)
        found = waiting_reason(waiting, WaitFacts(line, None, pools))
        assert found.startswith(words)


def test_a_scripts_labels_are_its_own() -> None:
    script = make_task(
        task_type=TaskType.SCRIPT,
        workspace_id=None,
        labels={"os": "linux"},
        sealed_script=b"sealed",
    )
    assert waiting_reason(script, WaitFacts([], None, [POOL])) == (
        "no pool has the labels os=linux; make one or change the script's labels"
    )


def test_a_script_of_sluice_exec_waits_for_no_agent() -> None:
    script = make_task(task_type=TaskType.SCRIPT, workspace_id=None)
    assert next_phase(script) is None
    assert not claimable(script, [], None, BOTH)
    words = waiting_reason(script, WaitFacts([], None, [POOL]))
    assert words == "waits for `sluice exec` to run it"


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st")],
)
def test_ordinals(number: int, word: str) -> None:
    assert ordinal(number) == word


# --- what always holds ---------------------------------------------------------

TASKS = st.lists(
    st.tuples(
        st.sampled_from(TaskState),
        st.sampled_from([TaskType.PLAN, TaskType.PLAN_AND_APPLY, TaskType.APPLY]),
        st.sampled_from([Gate.PRE_PLAN, Gate.POST_APPLY]),
    ),
    max_size=8,
)


@given(TASKS, st.booleans(), st.data())
def test_never_more_than_one_lock_task_of_a_workspace_can_be_claimed(
    shapes: list[tuple[TaskState, TaskType, Gate]], locked: bool, data: st.DataObject
) -> None:
    tasks = [
        make_task(
            state,
            task_type=task_type,
            sequence=at,
            created_at=NOW + timedelta(at),
            gate=gate if state is TaskState.AT_GATE else None,
        )
        for at, (state, task_type, gate) in enumerate(shapes)
    ]
    lock = None
    if locked:
        lock = data.draw(st.sampled_from([user_lock(), *map(task_lock, tasks)]))
    contenders = [task for task in tasks if task.blocks_others]
    taken = [
        task
        for task in tasks
        if task.needs_lock and claimable(task, contenders, lock, BOTH)
    ]
    assert len(taken) <= 1
    if taken:
        assert taken[0] is contenders[0]
        assert lock is None or lock.id == taken[0].id
