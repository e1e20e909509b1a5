"""Tables of policies and of what they said of tasks."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

# texts by their SHA-256: what a task was made with stays when the policy changes
policy_sources = Table(
    "policy_sources",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("source", Text, nullable=False),
)

# owner_id: the workspace's id, or the organization's where it holds in all of it
policies = Table(
    "policies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column(
        "workspace_id",
        Text,
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        index=True,
    ),
    Column("owner_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("digest", Text, ForeignKey("policy_sources.digest"), nullable=False),
    Column("enforcement_level", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("owner_id", "name"),
    Index("ix_policies_organization_id", "organization_id"),
)

policy_evaluations = Table(
    "policy_evaluations",
    metadata,
    Column(
        "task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("opened_at", UtcDateTime),
    Column("due_at", UtcDateTime, index=True),
    Column("attempts", Integer, nullable=False),
    Column("closed_at", UtcDateTime),
)

# policy_id: no foreign key, the result outlives its policy
policy_results = Table(
    "policy_results",
    metadata,
    Column(
        "task_id",
        Text,
        ForeignKey("policy_evaluations.task_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("policy_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("enforcement_level", Text, nullable=False),
    Column("digest", Text, ForeignKey("policy_sources.digest"), nullable=False),
    Column("status", Text, nullable=False),
    Column("findings", Json, nullable=False),
    Column("left_out", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("completed_at", UtcDateTime),
)
