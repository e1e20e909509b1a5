"""Table of state versions; their content is a sealed blob."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.db.engine import metadata
from sluice.db.types import UtcDateTime

# outputs: sealed JSON of the state's outputs
state_versions = Table(
    "state_versions",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "workspace_id",
        Text,
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("sequence", BigInteger, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("md5", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("terraform_version", Text, nullable=False),
    Column("resource_count", Integer, nullable=False),
    Column("outputs", LargeBinary),
    Column("blob_key", Text, nullable=False),
    Column("task_id", Text),
    Column("rollback_of", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("workspace_id", "sequence"),
)
