"""Policies, price files, and what both said of tasks."""

import sqlalchemy as sa
from alembic import op

from sluice.db.types import Json, UtcDateTime

revision = "e0003"
down_revision = "e0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _policies()
    _policy_results()
    _costs()


def _policies() -> None:
    op.create_table(
        "policy_sources",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policy_sources")),
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("enforcement_level", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_policies_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_policies_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["policy_sources.digest"],
            name=op.f("fk_policies_digest_policy_sources"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_policies_owner_id_name")),
    )
    for column in ("organization_id", "workspace_id"):
        op.create_index(f"ix_policies_{column}", "policies", [column], unique=False)


def _policy_results() -> None:
    op.create_table(
        "policy_evaluations",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_policy_evaluations_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_policy_evaluations")),
    )
    op.create_index(
        "ix_policy_evaluations_due_at", "policy_evaluations", ["due_at"], unique=False
    )
    op.create_table(
        "policy_results",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enforcement_level", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("findings", Json, nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["policy_evaluations.task_id"],
            name=op.f("fk_policy_results_task_id_policy_evaluations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["policy_sources.digest"],
            name=op.f("fk_policy_results_digest_policy_sources"),
        ),
        sa.PrimaryKeyConstraint("task_id", "policy_id", name=op.f("pk_policy_results")),
    )


def _costs() -> None:
    op.create_table(
        "price_contents",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_price_contents")),
    )
    op.create_table(
        "price_files",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_price_files_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["price_contents.digest"],
            name=op.f("fk_price_files_digest_price_contents"),
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_price_files")),
    )
    op.create_table(
        "cost_estimates",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("estimate", Json, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_cost_estimates_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["price_contents.digest"],
            name=op.f("fk_cost_estimates_digest_price_contents"),
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_cost_estimates")),
    )
    op.create_index(
        "ix_cost_estimates_due_at", "cost_estimates", ["due_at"], unique=False
    )
