"""Tables of notifications and of their messages."""

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
    UniqueConstraint,
    text,
)

from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

# owner_id: the workspace's id, or the organization's where it holds in all of it
notifications = Table(
    "notifications",
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
    Column("kind", Text, nullable=False),
    Column("triggers", Json, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("sealed_url", LargeBinary),
    Column("sealed_secret", LargeBinary),
    Column("recipients", Json, nullable=False),
    Column("user_ids", Json, nullable=False),
    Column("leased_until", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("owner_id", "name"),
    Index("ix_notifications_organization_id", "organization_id"),
)

_PENDING = text("status = 'pending'")

# no foreign keys: a task's transaction writes here, and must wait for nobody who deletes;
# messages whose notification is gone are sent by nobody, and deleted with their age
notification_deliveries = Table(
    "notification_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("notification_id", Text, nullable=False),
    Column("organization_id", Text, nullable=False),
    Column("workspace_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcDateTime),
    Column("status_code", Integer),
    Column("message", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("last_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Index(
        "ix_notification_deliveries_notification_id_created_at",
        "notification_id",
        "created_at",
    ),
    # what claims look at: however many were sent, few wait
    Index(
        "ix_notification_deliveries_due",
        "notification_id",
        "next_at",
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    ),
    Index(
        "ix_notification_deliveries_pending",
        "notification_id",
        "task_id",
        "version",
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    ),
)
