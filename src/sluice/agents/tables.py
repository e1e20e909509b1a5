"""Tables of pools and agents."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

pools = Table(
    "pools",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", Json, nullable=False),
    Column("max_plan_concurrency", Integer, nullable=False),
    Column("allow_apply_concurrent", Boolean, nullable=False),
    Column("adaptive_concurrency", Boolean, nullable=False),
    Column("cpu_threshold", Float, nullable=False),
    Column("mem_threshold", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("organization_id", "name"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pool_id", Text, ForeignKey("pools.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("labels", Json, nullable=False),
    # the random name of its data directory
    Column("instance", Text, nullable=False),
    Column("capabilities", Json, nullable=False),
    Column("busy", Boolean, nullable=False),
    Column("draining", Boolean, nullable=False),
    # what people ask of it, until they ask for something else
    Column("drain_requested", Boolean, nullable=False),
    Column("drain_reason", Text, nullable=False),
    Column("drain_by", Text, nullable=False),
    Column("drain_at", UtcDateTime),
    Column("plan_tasks_running", Integer, nullable=False),
    Column("plan_task_limit", Integer, nullable=False),
    Column("apply_task_running", Boolean, nullable=False),
    Column("current_tasks", Json, nullable=False),
    Column("cpu_usage", Float, nullable=False),
    Column("mem_usage", Float, nullable=False),
    Column("loops", Json, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
)
