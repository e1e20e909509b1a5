"""Pools and agents."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sluice.wire.shapes.base import Input, Name, Resource


class PoolInput(Input):
    """A new pool."""

    name: Name
    labels: dict[str, str] = Field(default={})
    max_plan_concurrency: int = Field(default=3, ge=1, le=100)
    allow_apply_concurrent: bool = False


class Pool(Resource):
    """Agents that share work."""

    id: str
    organization_id: str
    name: str
    labels: dict[str, str]
    max_plan_concurrency: int
    allow_apply_concurrent: bool
    created_at: datetime


class AgentState(StrEnum):
    """How an agent stands with the server."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


class Agent(Resource):
    """An agent as last heard of."""

    id: str
    pool_id: str
    name: str
    version: str
    labels: dict[str, str]
    state: AgentState
    plan_tasks_running: int
    plan_task_limit: int
    apply_task_running: bool
    current_tasks: list[str]
    cpu_usage: float
    mem_usage: float
    last_seen_at: datetime
