"""The first tables."""

import sqlalchemy as sa
from alembic import op

from sluice.db.types import Json, UtcDateTime

revision = "e0001"
down_revision = None
branch_labels = ("expand",)
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "log_chunks",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("newlines", sa.Integer(), nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("captured_us", sa.BigInteger(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.Column("meta", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index(
        "ix_log_chunks_task_id_first_line",
        "log_chunks",
        ["task_id", "first_line"],
        unique=False,
    )
    op.create_index(
        "uq_log_chunks_task_id_offset",
        "log_chunks",
        ["task_id", "offset", "day"],
        unique=True,
    )
    op.create_table(
        "logs",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("next_line", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("final_status", sa.Text(), nullable=True),
        sa.Column("blob_key", sa.Text(), nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("sealed_at", UtcDateTime(), nullable=True),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_logs")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "pools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("max_plan_concurrency", sa.Integer(), nullable=False),
        sa.Column("allow_apply_concurrent", sa.Boolean(), nullable=False),
        sa.Column("adaptive_concurrency", sa.Boolean(), nullable=False),
        sa.Column("cpu_threshold", sa.Float(), nullable=False),
        sa.Column("mem_threshold", sa.Float(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_pools_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_pools_organization_id_name")
        ),
    )
    op.create_table(
        "scripts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("interpreter", Json, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("parameters", Json, nullable=False),
        sa.Column("sealed_defaults", Json, nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("pool_id", sa.Text(), nullable=True),
        sa.Column("labels", Json, nullable=False),
        sa.Column("last_task_id", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_scripts_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scripts")),
        sa.UniqueConstraint(
            "organization_id", "key", name=op.f("uq_scripts_organization_id_key")
        ),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_tokens_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
    )
    op.create_index(
        op.f("ix_tokens_subject_id"), "tokens", ["subject_id"], unique=False
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("capabilities", Json, nullable=False),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("drain_requested", sa.Boolean(), nullable=False),
        sa.Column("drain_reason", sa.Text(), nullable=False),
        sa.Column("drain_by", sa.Text(), nullable=False),
        sa.Column("drain_at", UtcDateTime(), nullable=True),
        sa.Column("plan_tasks_running", sa.Integer(), nullable=False),
        sa.Column("plan_task_limit", sa.Integer(), nullable=False),
        sa.Column("apply_task_running", sa.Boolean(), nullable=False),
        sa.Column("current_tasks", Json, nullable=False),
        sa.Column("cpu_usage", sa.Float(), nullable=False),
        sa.Column("mem_usage", sa.Float(), nullable=False),
        sa.Column("loops", Json, nullable=False),
        sa.Column("registered_at", UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pool_id"], ["pools.id"], name=op.f("fk_agents_pool_id_pools")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
    )
    op.create_index(op.f("ix_agents_pool_id"), "agents", ["pool_id"], unique=False)
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("execution_mode", sa.Text(), nullable=False),
        sa.Column("auto_apply", sa.Boolean(), nullable=False),
        sa.Column("working_directory", sa.Text(), nullable=False),
        sa.Column("terraform_version", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=True),
        sa.Column("labels", Json, nullable=False),
        sa.Column("state_diverged", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("lock_id", sa.Text(), nullable=True),
        sa.Column("lock_holder", sa.Text(), nullable=True),
        sa.Column("lock_kind", sa.Text(), nullable=True),
        sa.Column("lock_reason", sa.Text(), nullable=True),
        sa.Column("lock_info", Json, nullable=True),
        sa.Column("locked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_workspaces_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["pool_id"], ["pools.id"], name=op.f("fk_workspaces_pool_id_pools")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_workspaces_organization_id_name")
        ),
    )
    op.create_table(
        "configuration_versions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("blob_key", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_configuration_versions_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configuration_versions")),
    )
    op.create_index(
        op.f("ix_configuration_versions_workspace_id"),
        "configuration_versions",
        ["workspace_id"],
        unique=False,
    )
    op.create_table(
        "state_versions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("lineage", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("terraform_version", sa.Text(), nullable=False),
        sa.Column("resource_count", sa.Integer(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=True),
        sa.Column("blob_key", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("rollback_of", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_state_versions_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_state_versions")),
        sa.UniqueConstraint(
            "workspace_id",
            "sequence",
            name=op.f("uq_state_versions_workspace_id_sequence"),
        ),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=True),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("task_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("sealed_variables", sa.LargeBinary(), nullable=True),
        sa.Column("auto_apply", sa.Boolean(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("terraform_version", sa.Text(), nullable=False),
        sa.Column("working_directory", sa.Text(), nullable=False),
        sa.Column("configuration_version_id", sa.Text(), nullable=True),
        sa.Column("plan_task_id", sa.Text(), nullable=True),
        sa.Column("resolved_version", sa.Text(), nullable=False),
        sa.Column("has_changes", sa.Boolean(), nullable=True),
        sa.Column("summary", Json, nullable=True),
        sa.Column("plan_blob", sa.Text(), nullable=True),
        sa.Column("plan_json_blob", sa.Text(), nullable=True),
        sa.Column("script", Json, nullable=True),
        sa.Column("script_key", sa.Text(), nullable=True),
        sa.Column("sealed_script", sa.LargeBinary(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("gates", Json, nullable=False),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.Column("gate_overridden", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("lease_id", sa.Text(), nullable=True),
        sa.Column("lease_agent_id", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("lease_started", sa.Boolean(), nullable=False),
        sa.Column("agent_lost", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=False),
        sa.Column("last_agent_id", sa.Text(), nullable=True),
        sa.Column("apply_offset", sa.BigInteger(), nullable=True),
        sa.Column("apply_line", sa.BigInteger(), nullable=True),
        sa.Column("has_errors", sa.Boolean(), nullable=False),
        sa.Column("plan_last_line", sa.Text(), nullable=False),
        sa.Column("apply_last_line", sa.Text(), nullable=False),
        sa.Column("plan_lines", sa.Integer(), nullable=False),
        sa.Column("apply_lines", sa.Integer(), nullable=False),
        sa.Column("script_lines", sa.Integer(), nullable=False),
        sa.Column("script_last_line", sa.Text(), nullable=False),
        sa.Column("log_sealed", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_tasks_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_tasks_workspace_id_workspaces"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("sequence", name=op.f("uq_tasks_sequence")),
    )
    op.create_index(
        "ix_tasks_lease_agent_id", "tasks", ["lease_agent_id"], unique=False
    )
    op.create_index(
        "ix_tasks_lease_expires_at", "tasks", ["lease_expires_at"], unique=False
    )
    for name, columns, where in (
        (
            "ix_tasks_open_gate",
            ["state", "sequence"],
            "completed_at IS NULL AND gate IS NOT NULL",
        ),
        ("ix_tasks_open_sequence", ["sequence"], "completed_at IS NULL"),
        (
            "ix_tasks_open_workspace_id",
            ["workspace_id", "sequence"],
            "completed_at IS NULL",
        ),
    ):
        op.create_index(
            name,
            "tasks",
            columns,
            unique=False,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.create_index(
        "ix_tasks_script_key_sequence",
        "tasks",
        ["script_key", "sequence"],
        unique=False,
    )
    op.create_index(
        "ix_tasks_status_sequence", "tasks", ["status", "sequence"], unique=False
    )
    op.create_index(
        "ix_tasks_workspace_id_sequence",
        "tasks",
        ["workspace_id", "sequence"],
        unique=False,
    )
    op.create_table(
        "variables",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("hcl", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_variables_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variables")),
        sa.UniqueConstraint(
            "workspace_id",
            "category",
            "key",
            name=op.f("uq_variables_workspace_id_category_key"),
        ),
    )
    op.create_table(
        "late_output",
        sa.Column("lease_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_late_output_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("lease_id", name=op.f("pk_late_output")),
    )
    op.create_index(
        op.f("ix_late_output_task_id"), "late_output", ["task_id"], unique=False
    )
    op.create_table(
        "late_output_parts",
        sa.Column("lease_id", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["lease_id"],
            ["late_output.lease_id"],
            name=op.f("fk_late_output_parts_lease_id_late_output"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "lease_id", "offset", name=op.f("pk_late_output_parts")
        ),
    )
    op.create_table(
        "task_actions",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_task_actions_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_actions")),
    )
    op.create_index(
        op.f("ix_task_actions_task_id"), "task_actions", ["task_id"], unique=False
    )
    op.create_table(
        "task_leases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("log_line", sa.BigInteger(), nullable=False),
        sa.Column("base_state_id", sa.Text(), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("log_end", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_task_leases_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_leases")),
    )
    op.create_index(
        op.f("ix_task_leases_task_id"), "task_leases", ["task_id"], unique=False
    )
    op.create_table(
        "task_stages",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_task_stages_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "task_id", "phase", "stage", name=op.f("pk_task_stages")
        ),
    )
