"""The table of registered scripts."""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

# body or path is empty; sealed_defaults: of sensitive parameters, by name
scripts = Table(
    "scripts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("interpreter", Json, nullable=False),
    Column("body", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("sealed_defaults", Json, nullable=False),
    Column("timeout_seconds", Float),
    Column("pool_id", Text),
    Column("labels", Json, nullable=False),
    Column("last_task_id", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("organization_id", "key"),
)
