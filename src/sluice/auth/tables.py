"""Tables of who there is, what they may do, what they hold, and what they did."""

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
)

from sluice.db.append_only import keep_rows
from sluice.db.engine import metadata
from sluice.db.types import Json, UtcDateTime

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("email", Text, unique=True),
    Column("password_hash", Text),
    Column("disabled_at", UtcDateTime),
)

# who an identity provider says somebody is
identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_login_at", UtcDateTime, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True, index=True),
    Column("role", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

teams = Table(
    "teams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("permissions", Json, nullable=False),
    Column("level", Text),
    Column("sso_group", Text, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("organization_id", "name"),
)

# by_sso: put there by the identity provider, which may take them out again
team_members = Table(
    "team_members",
    metadata,
    Column(
        "team_id", Text, ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True, index=True),
    Column("by_sso", Boolean, nullable=False),
)

# subject_id: the team or the user; workspaces lie on a higher floor, so no foreign key
grants = Table(
    "grants",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True, index=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("team_id", Text, ForeignKey("teams.id", ondelete="CASCADE")),
    Column("user_id", Text, ForeignKey("users.id")),
    Column("level", Text, nullable=False),
    Index("ix_grants_organization_id", "organization_id"),
)

# keys with which this server signs what other services trust; the private half is sealed
issuer_keys = Table(
    "issuer_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("public", Json, nullable=False),
    Column("private_sealed", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),
)

# kind: see `TokenKind`; subject_id: the user or pool (none for setup)
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False, index=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("scope", Json),
    Column("parent_id", Text),
)

# who did what to what; rows are never changed
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("organization_id", Text),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Column("outcome", Text, nullable=False, server_default="allowed"),
    Column("actor_id", Text, nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    Column("request_id", Text, nullable=False, server_default=""),
    Column("previous_hash", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, server_default=""),
    Index("ix_audit_entries_organization_id_number", "organization_id", "number"),
)
keep_rows(audit_entries, sealed="hash")

# one row: the last link of the chain; who holds it appends
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
