"""Table of configuration versions."""

from sqlalchemy import BigInteger, Column, ForeignKey, Table, Text

from sluice.db.engine import metadata
from sluice.db.types import UtcDateTime

configuration_versions = Table(
    "configuration_versions",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "workspace_id",
        Text,
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("status", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("size_bytes", BigInteger),
    Column("sha256", Text),
    Column("blob_key", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
