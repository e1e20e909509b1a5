"""Decides which agent may take which work: pools and labels, the pool's limits, room.

The agent keeps the same limits by itself (`runner/slots.py`); here they hold even for an
agent that counts wrongly, or that pulls twice at a time from two servers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.wire.agent import PhaseName, Slots


class Matched(Protocol):
    """What says which pools may serve it: a task, or work of one kind."""

    @property
    def pool_id(self) -> PoolId | None:
        """The one pool, where one is named."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """What any other pool must have."""
        ...


@dataclass(frozen=True, slots=True)
class Claimant:
    """An agent that asks for work, and how much of each kind it says that fits."""

    agent_id: AgentId
    organization_id: OrganizationId
    pool_id: PoolId
    slots: Slots


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What the server knows of a claimant: its pool, how much at a time, whether at all."""

    pool_id: PoolId
    organization_id: OrganizationId
    labels: Mapping[str, str]
    plan_limit: int
    allow_apply_concurrent: bool
    takes_work: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """How many phases of each kind an agent holds leases of, lost ones included."""

    plans: int = 0
    applies: int = 0

    def plus(self, phase: PhaseName, count: int) -> "Holding":
        """With ``count`` more phases of a kind; a script counts as a plan."""
        if phase is PhaseName.APPLY:
            return Holding(self.plans, self.applies + count)
        return Holding(self.plans + count, self.applies)


@dataclass(frozen=True, slots=True)
class Work:
    """Phases that may be claimed now and are alike in who may claim them.

    Attributes:
        organization_id: whose agents.
        pool_id: the one pool, where one is named.
        labels: what any other pool must have.
        apply: whether they are applies; else they are plans or scripts.
        count: how many there are.
    """

    organization_id: OrganizationId
    pool_id: PoolId | None
    labels: Mapping[str, str]
    apply: bool
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The work there is; not ``whole`` where the look stopped at the head of a long queue."""

    works: Sequence[Work] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which phases an agent may take: those that its pool serves, of kinds with room."""

    organization_id: OrganizationId
    pool_id: PoolId
    labels: Mapping[str, str]
    plan: bool
    apply: bool

    @property
    def choice(self) -> int:
        """How many kinds there are to choose from."""
        return self.plan + self.apply


def has_labels(pool_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a pool has all of these labels."""
    return labels.items() <= pool_labels.items()


def serves(pool_id: PoolId, pool_labels: Mapping[str, str], what: Matched) -> bool:
    """Whether a pool of the right organization serves it: named, or by its labels."""
    if what.pool_id is not None:
        return what.pool_id == pool_id
    return has_labels(pool_labels, what.labels)


def room(facts: ClaimFacts, holds: Holding, slots: Slots) -> Slots:
    """What an agent may still be given; never more than the slots it named.

    Plans and scripts run side by side up to a limit. There is one apply at a time, and
    nothing is begun beside it unless the pool allows that.
    """
    alone = holds.applies > 0 and not facts.allow_apply_concurrent
    if alone or not facts.takes_work:
        return Slots()
    return Slots(
        plan=max(0, min(slots.plan, facts.plan_limit - holds.plans)),
        apply=max(0, min(slots.apply, 1 - holds.applies)),
    )


def wanted(facts: ClaimFacts, left: Slots) -> Wanted:
    """What may be looked for with this room."""
    return Wanted(
        organization_id=facts.organization_id,
        pool_id=facts.pool_id,
        labels=dict(facts.labels),
        plan=left.plan > 0,
        apply=left.apply > 0,
    )


def takers(
    claimants: Sequence[Claimant],
    overview: Overview,
    pool_labels: Mapping[PoolId, Mapping[str, str]],
) -> list[Claimant]:
    """Those whom there is something for, first come first; no more than there is work.

    An agent that asks twice is taken once: what it may have more is only known then. Where
    the overview is not whole, those it shows nothing for come last, to look for themselves.
    """
    left = [work.count for work in overview.works]
    asking: dict[AgentId, Claimant] = {}
    for claimant in claimants:
        asking.setdefault(claimant.agent_id, claimant)
    chosen, others = [], []
    for claimant in asking.values():
        labels = pool_labels.get(claimant.pool_id, {})
        for at, work in enumerate(overview.works):
            if left[at] and _suits(claimant, labels, work):
                left[at] -= 1
                chosen.append(claimant)
                break
        else:
            others.append(claimant)
    return chosen if overview.whole else chosen + others


def _suits(claimant: Claimant, labels: Mapping[str, str], work: Work) -> bool:
    slots = claimant.slots.apply if work.apply else claimant.slots.plan
    return (
        slots > 0
        and claimant.organization_id == work.organization_id
        and serves(claimant.pool_id, labels, work)
    )
