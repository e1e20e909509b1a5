"""Memberships, teams, grants, identities, issuer keys, and the chain of the audit log."""

import sqlalchemy as sa
from alembic import op

from sluice.db.append_only import append_only
from sluice.db.types import Json, UtcDateTime

revision = "e0004"
down_revision = "e0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the columns of those that were there."""
    _users()
    _organizations()
    _grants()
    _issuer_keys()
    _audit()


def _users() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("email", sa.Text(), nullable=True))
        users.add_column(sa.Column("password_hash", sa.Text(), nullable=True))
        users.add_column(sa.Column("disabled_at", UtcDateTime(), nullable=True))
        users.create_unique_constraint(op.f("uq_users_email"), ["email"])
    op.add_column("tokens", sa.Column("scope", Json, nullable=True))
    op.add_column("tokens", sa.Column("parent_id", sa.Text(), nullable=True))
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_login_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_identities_user_id_users")
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identities")),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"], unique=False)


def _organizations() -> None:
    op.create_table(
        "memberships",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        _of_organization("memberships"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_memberships_user_id_users")
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "user_id", name=op.f("pk_memberships")
        ),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"], unique=False)
    op.create_table(
        "teams",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("permissions", Json, nullable=False),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("sso_group", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        _of_organization("teams"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_teams_organization_id_name")
        ),
    )
    op.create_index("ix_teams_sso_group", "teams", ["sso_group"], unique=False)
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("by_sso", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"],
            ["teams.id"],
            name=op.f("fk_team_members_team_id_teams"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_team_members_user_id_users")
        ),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_team_members")),
    )
    op.create_index(
        "ix_team_members_user_id", "team_members", ["user_id"], unique=False
    )


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("level", sa.Text(), nullable=False),
        _of_organization("grants"),
        sa.ForeignKeyConstraint(
            ["team_id"],
            ["teams.id"],
            name=op.f("fk_grants_team_id_teams"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_grants_user_id_users")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "subject_id", name=op.f("pk_grants")),
    )
    for column in ("subject_id", "organization_id"):
        op.create_index(f"ix_grants_{column}", "grants", [column], unique=False)


def _issuer_keys() -> None:
    op.create_table(
        "issuer_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("public", Json, nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuer_keys")),
    )


def _audit() -> None:
    op.add_column(
        "audit_entries",
        sa.Column("outcome", sa.Text(), nullable=False, server_default="allowed"),
    )
    for name in ("actor_id", "address", "request_id", "previous_hash", "hash"):
        op.add_column(
            "audit_entries",
            sa.Column(name, sa.Text(), nullable=False, server_default=""),
        )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    dialect = op.get_bind().dialect.name
    for statement in append_only(dialect, "audit_entries", sealed="hash"):
        op.execute(statement)
    if dialect == "postgresql":
        # Servers of the last version number entries by the sequence until they are
        # replaced: theirs go far beyond the chain's, which takes them in later.
        op.execute(
            "SELECT setval(pg_get_serial_sequence('audit_entries', 'number'),"
            " 1000000000000)"
        )


def _of_organization(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id"],
        ["organizations.id"],
        name=op.f(f"fk_{table}_organization_id_organizations"),
    )
