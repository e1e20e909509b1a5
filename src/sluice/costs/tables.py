"""Tables of price files and of estimates."""

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

# texts by their digest: what a task was made with stays when the price file changes
price_contents = Table(
    "price_contents",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("content", Text, nullable=False),
)

price_files = Table(
    "price_files",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("digest", Text, ForeignKey("price_contents.digest"), nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

cost_estimates = Table(
    "cost_estimates",
    metadata,
    Column(
        "task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("digest", Text, ForeignKey("price_contents.digest"), nullable=False),
    Column("status", Text, nullable=False),
    Column("estimate", Json),
    Column("error", Text, nullable=False),
    Column("opened_at", UtcDateTime),
    Column("due_at", UtcDateTime, index=True),
    Column("attempts", Integer, nullable=False),
    Column("closed_at", UtcDateTime),
)
