"""Pools and agents as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sluice.base.ids import AgentId, OrganizationId, PoolId


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


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as last heard of."""

    id: AgentId
    pool_id: PoolId
    name: str
    version: str
    registered_at: datetime
    last_seen_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    busy: bool = False
    draining: bool = False
    plan_tasks_running: int = 0
    plan_task_limit: int = 0
    apply_task_running: bool = False
    current_tasks: tuple[str, ...] = ()
    cpu_usage: float = 0.0
    mem_usage: float = 0.0
