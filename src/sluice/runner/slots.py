"""Decides what work an agent has room for (spec/4, "Pools")."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.wire.agent import PhaseName, PoolInfo, Slots


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
    """How many plans may run at a time: the pool's maximum, or less if the agent says so."""
    if own_limit is None:
        return pool.max_plan_concurrency
    return min(own_limit, pool.max_plan_concurrency)


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
