"""Pools, agents, and what a pull comes back with, as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sluice.base.ids import AgentId, OrganizationId, PoolId
from sluice.wire.agent import PhaseOrder


@dataclass(frozen=True, slots=True)
class Pool:
    """Agents that share work, and the rules they keep."""

    id: PoolId
    organization_id: OrganizationId
    name: str
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    max_plan_concurrency: int = 3
    allow_apply_concurrent: bool = False
    adaptive_concurrency: bool = False
    cpu_threshold: float = 0.85
    mem_threshold: float = 0.85


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as last heard of, and what is asked of it.

    Attributes:
        instance: the random name of its data directory; empty from one that tells none.
        draining: it says that it takes no work.
        drain_requested: people ask it to take none, until they say otherwise.
        drain_by: who asked last, to drain or to take work again; empty where nobody did.
        drain_reason: why.
        drain_at: when.
        loops: what each of its loops is doing, and since when.
    """

    id: AgentId
    pool_id: PoolId
    name: str
    version: str
    registered_at: datetime
    last_seen_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    instance: str = ""
    capabilities: tuple[str, ...] = ()
    busy: bool = False
    draining: bool = False
    drain_requested: bool = False
    drain_reason: str = ""
    drain_by: str = ""
    drain_at: datetime | None = None
    plan_tasks_running: int = 0
    plan_task_limit: int = 0
    apply_task_running: bool = False
    current_tasks: tuple[str, ...] = ()
    cpu_usage: float = 0.0
    mem_usage: float = 0.0
    loops: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a long poll for work came to; ``ping_now``: something else is asked of the agent."""

    order: PhaseOrder | None = None
    ping_now: bool = False
