"""Decides whose turn it is in a workspace, and says in words what a task waits for.

Tasks that may change infrastructure hold the workspace's lock one at a time, from their
first phase to their end, in the order in which they were created. Tasks that only plan
run beside them and never wait for the lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluice.base.ids import PoolId
from sluice.tasks.matching import serves
from sluice.tasks.model import Task, TaskState
from sluice.wire.agent import PhaseName, Slots
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.model import Lock

ALIVE_SECONDS = 35.0
"""An agent not heard of for longer counts as away; three pings may be late."""

WAITING = frozenset({TaskState.QUEUED, TaskState.APPLY_READY})
"""States in which a task waits for an agent to claim its next phase."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What a reason for waiting says of a pool: how many agents are alive and have room."""

    id: PoolId
    name: str
    agents: int
    free: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """All that decides why a task waits.

    Attributes:
        contenders: tasks of the workspace that hold or wait for its lock, in order.
        lock: who holds the lock.
        pools: all pools of the organization.
        running: why nothing more of the organization may run now, in words; else empty.
    """

    contenders: Sequence[Task]
    lock: Lock | None
    pools: Sequence[PoolFacts]
    running: str = ""


def next_phase(task: Task) -> PhaseName | None:
    """The phase that an agent could claim of this task, None where there is none.

    A script without a body or path is `sluice exec`'s own: agents have nothing to run.
    A task before its first gate has to come through that first.
    """
    if task.gate is not None:
        return None
    if task.task_type is TaskType.SCRIPT and task.sealed_script is None:
        return None
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
        if other.blocks_others and other.sequence < task.sequence
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
    if task.gate is None and next_phase(task) is None:
        return "waits for `sluice exec` to run it"
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
    if task.gate is not None:
        return f"comes to {task.gate}"
    return facts.running or _agents_reason(task, facts.pools)


def _agents_reason(task: Task, pools: Sequence[PoolFacts]) -> str:
    able = [pool for pool in pools if serves(pool.id, pool.labels, task)]
    labels = ", ".join(f"{key}={value}" for key, value in sorted(task.labels.items()))
    if task.pool_id is not None:
        return _named_reason(task.pool_id, able)
    if labels and not able:
        owner = "workspace" if task.workspace_id else "script"
        return (
            f"no pool has the labels {labels}; make one or change the {owner}'s labels"
        )
    whose = f"the pools with the labels {labels}" if labels else "the organization"
    if not any(pool.agents for pool in able):
        verb = "have" if labels else "has"
        return f"{whose} {verb} no agents; start one with `sluice agent`"
    if not any(pool.free for pool in able):
        return f"no agent of {whose} is free" if labels else "no agent is free"
    return "waits for an agent to take it"


def _named_reason(pool_id: PoolId, able: Sequence[PoolFacts]) -> str:
    if not able:
        return f"there is no pool {pool_id}; name another one and start again"
    pool = able[0]
    if pool.agents == 0:
        return f"pool {pool.name} has no agents; start one with `sluice agent`"
    if pool.free == 0:
        return f"no agent of pool {pool.name} is free"
    return "waits for an agent to take it"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st…"""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
