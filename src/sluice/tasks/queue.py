"""Decides whose turn it is in a workspace, and says in words what a task waits for.

Tasks that may change infrastructure hold the workspace's lock one at a time, from their
first phase to their end, in the order in which they were created. Tasks that only plan
run beside them and never wait for the lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.tasks.model import Task, TaskState
from sluice.wire.agent import PhaseName, Slots
from sluice.workspaces.model import Lock

ALIVE_SECONDS = 35.0
"""An agent not heard of for longer counts as away; three pings may be late."""

WAITING = frozenset({TaskState.QUEUED, TaskState.APPLY_READY})
"""States in which a task waits for an agent to claim its next phase."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What a reason for waiting says of agents: how many are alive, how many have room.

    ``name`` is None where any pool of the organization will do.
    """

    name: str | None
    agents: int
    free: int


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """All that decides why a task waits.

    Attributes:
        contenders: tasks of the workspace that hold or wait for its lock, in order.
        lock: who holds the lock.
        pool: the agents that could take it.
    """

    contenders: Sequence[Task]
    lock: Lock | None
    pool: PoolFacts


def next_phase(task: Task) -> PhaseName | None:
    """The phase that an agent could claim of this task, None where there is none."""
    match task.state:
        case TaskState.QUEUED:
            return task.first_phase
        case TaskState.APPLY_READY:
            return PhaseName.APPLY
        case _:
            return None


def fits(phase: PhaseName, slots: Slots) -> bool:
    """Whether there is room for a phase; a script counts as a plan."""
    return slots.apply > 0 if phase is PhaseName.APPLY else slots.plan > 0


def ahead_of(task: Task, contenders: Sequence[Task]) -> list[Task]:
    """Those whose turn at the lock comes before this task's."""
    if not task.needs_lock:
        return []
    return [
        other
        for other in contenders
        if not other.terminal and other.sequence < task.sequence
    ]


def has_turn(task: Task, contenders: Sequence[Task], lock: Lock | None) -> bool:
    """Whether nothing in the workspace keeps the task from being claimed."""
    if not task.needs_lock:
        return True
    return not ahead_of(task, contenders) and (lock is None or lock.id == task.id)


def claimable(
    task: Task, contenders: Sequence[Task], lock: Lock | None, slots: Slots
) -> bool:
    """Whether an agent with these slots may claim the task's next phase."""
    phase = next_phase(task)
    return phase is not None and fits(phase, slots) and has_turn(task, contenders, lock)


def waiting_reason(task: Task, facts: WaitFacts) -> str:
    """Why a task in a `WAITING` state has no agent, in words."""
    ahead = ahead_of(task, facts.contenders)
    if ahead:
        first = ahead[0]
        holds = facts.lock is not None and facts.lock.id == first.id
        place = f"{ordinal(len(ahead) + 1)} in the workspace's queue"
        if holds:
            return f"{place}: waits for {first.id} which holds the lock"
        return f"{place}: behind {first.id}"
    lock = facts.lock
    if task.needs_lock and lock is not None and lock.id != task.id:
        because = f": {lock.reason}" if lock.reason else ""
        return f"workspace is locked by {lock.holder}{because}"
    return _agents_reason(facts.pool)


def _agents_reason(pool: PoolFacts) -> str:
    if pool.agents == 0:
        if pool.name is None:
            return "the organization has no agents; start one with `sluice agent`"
        return f"pool {pool.name} has no agents; start one with `sluice agent`"
    if pool.free == 0:
        return (
            f"no agent of pool {pool.name} is free" if pool.name else "no agent is free"
        )
    return "waits for an agent to take it"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st…"""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
