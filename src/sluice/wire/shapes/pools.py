"""Pools and agents."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from sluice.wire.agent import LoopStatus
from sluice.wire.labels import Labels
from sluice.wire.shapes.base import Input, Name, Resource

PlanConcurrency = Annotated[int, Field(ge=1, le=100)]
Threshold = Annotated[float, Field(ge=0.05, le=1.0, allow_inf_nan=False)]


class PoolInput(Input):
    """A new pool.

    Attributes:
        labels: workspaces that name labels and no pool are served by pools that have them.
        max_plan_concurrency: plans and scripts that one of its agents runs at once.
        allow_apply_concurrent: an agent begins other work beside an apply.
        adaptive_concurrency: an agent lowers its limit while it is above a threshold.
        cpu_threshold: share of all processors, 0 to 1.
        mem_threshold: share of the memory, 0 to 1.
    """

    name: Name
    labels: Labels = Field(default={})
    max_plan_concurrency: PlanConcurrency = 3
    allow_apply_concurrent: bool = False
    adaptive_concurrency: bool = False
    cpu_threshold: Threshold = 0.85
    mem_threshold: Threshold = 0.85


class PoolPatch(Input):
    """Changes to a pool; what is absent stays."""

    name: Name | None = None
    labels: Labels | None = None
    max_plan_concurrency: PlanConcurrency | None = None
    allow_apply_concurrent: bool | None = None
    adaptive_concurrency: bool | None = None
    cpu_threshold: Threshold | None = None
    mem_threshold: Threshold | None = None


class Pool(Resource):
    """Agents that share work, and the rules they keep."""

    id: str
    organization_id: str
    name: str
    labels: dict[str, str]
    max_plan_concurrency: int
    allow_apply_concurrent: bool
    adaptive_concurrency: bool = False
    cpu_threshold: float = 0.85
    mem_threshold: float = 0.85
    created_at: datetime


class AgentState(StrEnum):
    """How an agent stands with the server."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


class DrainRequest(Resource):
    """Who asked an agent to take no more work, when, and why."""

    by: str
    reason: str
    at: datetime


class Agent(Resource):
    """An agent as last heard of.

    Attributes:
        draining: it takes no work, as it says, or is asked not to.
        drain: who asked it to drain; None where nobody does.
        unreachable_since: when it was last heard of, where it is offline.
        advice: what a person should do about it (its version does not fit); else empty.
    """

    id: str
    pool_id: str
    pool_name: str = ""
    name: str
    version: str
    labels: dict[str, str]
    capabilities: list[str] = Field(default=[])
    state: AgentState
    busy: bool
    plan_running_count: int
    plan_limit: int
    apply_running: bool
    current_tasks: list[str]
    draining: bool
    drain: DrainRequest | None = None
    cpu_usage: float
    mem_usage: float
    registered_at: datetime
    last_seen_at: datetime
    unreachable_since: datetime | None = None
    advice: str = ""


class AgentDetails(Agent):
    """An agent with its live status tree: what each of its loops is doing."""

    loops: dict[str, LoopStatus] = Field(default={})


class AgentStatus(Resource):
    """An agent's live status tree, as of ``told_at``."""

    id: str
    name: str
    state: AgentState
    told_at: datetime
    loops: dict[str, LoopStatus]
