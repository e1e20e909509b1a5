"""Tables of run tasks, their attachments, and what they said of tasks."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

run_tasks = Table(
    "run_tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("endpoint_url", Text, nullable=False),
    Column("sealed_key", LargeBinary),
    Column("signature_prefix", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("timeout_seconds", Integer, nullable=False),
    Column("is_global", Boolean, nullable=False),
    Column("global_stages", Json, nullable=False),
    Column("global_level", Text, nullable=False),
    Column("callback_allowed_cidrs", Json, nullable=False),
    Column("team_id", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("organization_id", "name"),
)

workspace_run_tasks = Table(
    "workspace_run_tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "workspace_id",
        Text,
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column(
        "run_task_id",
        Text,
        ForeignKey("run_tasks.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("stage", Text, nullable=False),
    Column("enforcement_level", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("workspace_id", "run_task_id", "stage"),
)

run_task_stages = Table(
    "run_task_stages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("opened_at", UtcDateTime),
    Column("answered_at", UtcDateTime, index=True),
    Column("passed", Boolean),
    UniqueConstraint("task_id", "stage"),
)

# run_task_id: no foreign key, the result outlives its run task. request: without the token.
run_task_results = Table(
    "run_task_results",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "stage_id",
        Text,
        ForeignKey("run_task_stages.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("task_id", Text, nullable=False, index=True),
    Column("organization_id", Text, nullable=False),
    Column("workspace_id", Text, nullable=False),
    Column("run_task_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("enforcement_level", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("token_hash", Text),
    Column("issued_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("next_call_at", UtcDateTime),
    Column("call_lease_until", UtcDateTime),
    Column("timeout_seconds", Integer, nullable=False),
    Column("timeout_at", UtcDateTime),
    Column("last_timeout_at", UtcDateTime),
    Column("http_status", Integer),
    Column("request", Json),
    Column("response", Json),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("overridden_by", Text),
    Column("override_reason", Text),
    Column("overridden_at", UtcDateTime),
    UniqueConstraint("stage_id", "run_task_id"),
    Index("ix_run_task_results_next_call_at", "next_call_at"),
    Index("ix_run_task_results_completed_at_timeout_at", "completed_at", "timeout_at"),
)

run_task_outcomes = Table(
    "run_task_outcomes",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "result_id",
        Text,
        ForeignKey("run_task_results.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("position", Integer, nullable=False),
    Column("outcome_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("tags", Json, nullable=False),
    Column("body", Text, nullable=False),
    Column("body_bytes", Integer, nullable=False),
)
