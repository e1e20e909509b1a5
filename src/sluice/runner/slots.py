"""Decides what work an agent has room for (spec/4, "Pools")."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.wire.agent import PhaseName, PoolInfo, Slots

SUSTAINED_SAMPLES = 3
"""So many samples in a row say the same before the limit moves by one."""

ROOM = 0.85
"""The limit is raised below this share of the thresholds, so that it does not swing."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many phases of each kind run now."""

    plans: int = 0
    applies: int = 0

    @property
    def total(self) -> int:
        """All phases."""
        return self.plans + self.applies


def load_of(phases: Sequence[PhaseName]) -> Load:
    """The load that some phases make; a script counts as a plan."""
    applies = sum(phase is PhaseName.APPLY for phase in phases)
    return Load(plans=len(phases) - applies, applies=applies)


def plan_limit(pool: PoolInfo, own_limit: int | None) -> int:
    """How many plans may run at a time at most: the pool's maximum, or the agent's own."""
    if own_limit is None:
        return pool.max_plan_concurrency
    return min(own_limit, pool.max_plan_concurrency)


@dataclass(frozen=True, slots=True)
class Sample:
    """How busy the machine was lately: shares of all processors and of the memory."""

    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class PlanLimit:
    """How many plans may run at a time now; how many samples in a row were hot or cool."""

    limit: int
    hot: int = 0
    cool: int = 0


def adapted(
    before: PlanLimit, pool: PoolInfo, maximum: int, sample: Sample
) -> PlanLimit:
    """The limit after one more sample, where the pool has it follow the load.

    It goes down by one while the processors or the memory stay above the pool's threshold,
    and up by one while both stay well below; never under 1 and never over ``maximum``.
    """
    if not pool.adaptive_concurrency:
        return PlanLimit(maximum)
    limit = max(1, min(before.limit, maximum))
    if sample.cpu > pool.cpu_threshold or sample.memory > pool.mem_threshold:
        hot = before.hot + 1
        if hot < SUSTAINED_SAMPLES:
            return PlanLimit(limit, hot=hot)
        return PlanLimit(max(1, limit - 1))
    if (
        sample.cpu < pool.cpu_threshold * ROOM
        and sample.memory < pool.mem_threshold * ROOM
    ):
        cool = before.cool + 1
        if cool < SUSTAINED_SAMPLES:
            return PlanLimit(limit, cool=cool)
        return PlanLimit(min(maximum, limit + 1))
    return PlanLimit(limit)


def free_slots(pool: PoolInfo, limit: int, load: Load) -> Slots:
    """Room for more work. An apply runs alone among applies, and nothing is begun beside
    it unless the pool allows that.
    """
    if load.applies and not pool.allow_apply_concurrent:
        return Slots()
    return Slots(plan=max(0, limit - load.plans), apply=0 if load.applies else 1)


def poll_seconds(slots: Slots, limit: int) -> float:
    """How long one long poll may take.

    A poll speaks for the slots it named; where some were taken, it is asked again soon,
    because they may have become free.
    """
    whole = slots.apply > 0 and slots.plan >= limit
    return 30.0 if whole else 5.0
