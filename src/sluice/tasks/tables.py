"""Tables of tasks, their stages, their leases and who did what to them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime


def _open_index(name: str, *columns: str, also: str = "") -> Index:
    """An index of open tasks alone: however long the history, few are open."""
    where = text(f"completed_at IS NULL{also}")
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


# state: the lifecycle's own state (tasks/lifecycle.py); status: the public one, derived.
# workspace_id: none for scripts. labels: canonical JSON of what a pool must have (`{}`: nothing).
# sequence: order in the queue. version: compare-and-set. sealed_variables: run variables.
# gates: where it has to stop. gate: where it stands or failed, or (queued) what comes first.
# script_key: the registered script, of `script`. lease_*: the current lease. log_sealed: the log's `end` is in (what the loop looks for).
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),
    Column("workspace_id", Text, ForeignKey("workspaces.id")),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("pool_id", Text),
    Column("labels", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stage", Text),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("options", Json, nullable=False),
    Column("sealed_variables", LargeBinary),
    Column("auto_apply", Boolean, nullable=False),
    Column("engine", Text, nullable=False),
    Column("terraform_version", Text, nullable=False),
    Column("working_directory", Text, nullable=False),
    Column("configuration_version_id", Text),
    Column("plan_task_id", Text),
    Column("resolved_version", Text, nullable=False),
    Column("has_changes", Boolean),
    Column("summary", Json),
    Column("plan_blob", Text),
    Column("plan_json_blob", Text),
    Column("script", Json),
    Column("script_key", Text),
    Column("sealed_script", LargeBinary),
    Column("exit_code", Integer),
    Column("gates", Json, nullable=False),
    Column("gate", Text),
    Column("gate_overridden", Boolean, nullable=False),
    Column("phase", Text),
    Column("lease_id", Text),
    Column("lease_agent_id", Text),
    Column("lease_expires_at", UtcDateTime),
    Column("lease_started", Boolean, nullable=False),
    Column("agent_lost", Boolean, nullable=False),
    Column("cancel_requested", Text),
    Column("cancel_reason", Text, nullable=False),
    Column("last_agent_id", Text),
    Column("apply_offset", BigInteger),
    Column("apply_line", BigInteger),
    Column("has_errors", Boolean, nullable=False),
    Column("plan_last_line", Text, nullable=False),
    Column("apply_last_line", Text, nullable=False),
    Column("plan_lines", Integer, nullable=False),
    Column("apply_lines", Integer, nullable=False),
    Column("script_lines", Integer, nullable=False),
    Column("script_last_line", Text, nullable=False),
    Column("log_sealed", Boolean, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Index("ix_tasks_workspace_id_sequence", "workspace_id", "sequence"),
    Index("ix_tasks_status_sequence", "status", "sequence"),
    Index("ix_tasks_lease_expires_at", "lease_expires_at"),
    Index("ix_tasks_lease_agent_id", "lease_agent_id"),
    Index("ix_tasks_script_key_sequence", "script_key", "sequence"),
    # what claims look at
    _open_index("ix_tasks_open_sequence", "sequence"),
    _open_index("ix_tasks_open_workspace_id", "workspace_id", "sequence"),
    # what is looked at each second for a first gate
    _open_index(
        "ix_tasks_open_gate", "state", "sequence", also=" AND gate IS NOT NULL"
    ),
)

# every lease there was: where its part of the log begins, which state it started from
# (stale plans), and how it ended, so that a repeated report is known
task_leases = Table(
    "task_leases",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "task_id",
        Text,
        ForeignKey("tasks.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("agent_id", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("log_line", BigInteger, nullable=False),
    Column("base_state_id", Text),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("outcome", Text),
    Column("log_end", BigInteger),
)

task_stages = Table(
    "task_stages",
    metadata,
    Column(
        "task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("phase", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
)

task_actions = Table(
    "task_actions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column(
        "task_id",
        Text,
        ForeignKey("tasks.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# output that was captured before its lease ended and came afterwards: what is kept of
# each lease, and its bytes in order
late_output = Table(
    "late_output",
    metadata,
    Column("lease_id", Text, primary_key=True),
    Column(
        "task_id",
        Text,
        ForeignKey("tasks.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("agent_id", Text, nullable=False),
    Column("committed", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

late_output_parts = Table(
    "late_output_parts",
    metadata,
    Column(
        "lease_id",
        Text,
        ForeignKey("late_output.lease_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
