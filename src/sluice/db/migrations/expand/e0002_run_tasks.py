"""Run tasks, what they said of tasks, and the audit log."""

import sqlalchemy as sa
from alembic import op

from sluice.db.types import Json, UtcDateTime

revision = "e0002"
down_revision = "e0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _definitions()
    _results()
    _audit()


def _definitions() -> None:
    op.create_table(
        "run_tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("signature_prefix", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("is_global", sa.Boolean(), nullable=False),
        sa.Column("global_stages", Json, nullable=False),
        sa.Column("global_level", sa.Text(), nullable=False),
        sa.Column("callback_allowed_cidrs", Json, nullable=False),
        sa.Column("team_id", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_run_tasks_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_tasks")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_run_tasks_organization_id_name")
        ),
    )
    op.create_table(
        "workspace_run_tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("run_task_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("enforcement_level", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_workspace_run_tasks_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_task_id"],
            ["run_tasks.id"],
            name=op.f("fk_workspace_run_tasks_run_task_id_run_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace_run_tasks")),
        sa.UniqueConstraint(
            "workspace_id",
            "run_task_id",
            "stage",
            name=op.f("uq_workspace_run_tasks_workspace_id_run_task_id_stage"),
        ),
    )
    op.create_index(
        "ix_workspace_run_tasks_run_task_id",
        "workspace_run_tasks",
        ["run_task_id"],
        unique=False,
    )


def _results() -> None:
    op.create_table(
        "run_task_stages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_run_task_stages_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_task_stages")),
        sa.UniqueConstraint(
            "task_id", "stage", name=op.f("uq_run_task_stages_task_id_stage")
        ),
    )
    op.create_table(
        "run_task_results",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stage_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("run_task_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("enforcement_level", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=True),
        sa.Column("issued_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_call_at", UtcDateTime(), nullable=True),
        sa.Column("call_lease_until", UtcDateTime(), nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("timeout_at", UtcDateTime(), nullable=True),
        sa.Column("last_timeout_at", UtcDateTime(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("request", Json, nullable=True),
        sa.Column("response", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("overridden_by", sa.Text(), nullable=True),
        sa.Column("override_reason", sa.Text(), nullable=True),
        sa.Column("overridden_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["stage_id"],
            ["run_task_stages.id"],
            name=op.f("fk_run_task_results_stage_id_run_task_stages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_task_results")),
        sa.UniqueConstraint(
            "stage_id",
            "run_task_id",
            name=op.f("uq_run_task_results_stage_id_run_task_id"),
        ),
    )
    op.create_index(
        "ix_run_task_stages_answered_at",
        "run_task_stages",
        ["answered_at"],
        unique=False,
    )
    for columns in (["task_id"], ["next_call_at"], ["completed_at", "timeout_at"]):
        op.create_index(
            f"ix_run_task_results_{'_'.join(columns)}",
            "run_task_results",
            columns,
            unique=False,
        )
    op.create_table(
        "run_task_outcomes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("result_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("outcome_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"],
            ["run_task_results.id"],
            name=op.f("fk_run_task_outcomes_result_id_run_task_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_task_outcomes")),
    )
    op.create_index(
        "ix_run_task_outcomes_result_id",
        "run_task_outcomes",
        ["result_id"],
        unique=False,
    )


def _audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_entries")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_entries_id")),
    )
    op.create_index(
        "ix_audit_entries_organization_id_number",
        "audit_entries",
        ["organization_id", "number"],
        unique=False,
    )
