"""Tables of workspaces and variables."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("execution_mode", Text, nullable=False),
    Column("auto_apply", Boolean, nullable=False),
    Column("working_directory", Text, nullable=False),
    Column("terraform_version", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("pool_id", Text, ForeignKey("pools.id")),
    # what a pool must have to serve it, where no pool is named
    Column("labels", Json, nullable=False),
    Column("state_diverged", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("lock_id", Text),
    Column("lock_holder", Text),
    Column("lock_kind", Text),
    Column("lock_reason", Text),
    Column("lock_info", Json),
    Column("locked_at", UtcDateTime),
    UniqueConstraint("organization_id", "name"),
)

# value for plain ones, sealed (AES-256-GCM) for sensitive ones; never both
variables = Table(
    "variables",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "workspace_id",
        Text,
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("key", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("hcl", Boolean, nullable=False),
    Column("sensitive", Boolean, nullable=False),
    Column("value", Text),
    Column("sealed", LargeBinary),
    Column("description", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("workspace_id", "category", "key"),
)
