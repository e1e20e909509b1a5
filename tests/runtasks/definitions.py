"""Run tasks and attachments as tests need them."""

from datetime import UTC, datetime
from typing import Any

from sluice.base.ids import (
    OrganizationId,
    RunTaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
)
from sluice.runtasks.model import RunTask, WorkspaceRunTask
from sluice.wire.run_task import EnforcementLevel, RunTaskStage

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ORG = OrganizationId("org-1")
WS = WorkspaceId("ws-1")
MANDATORY, ADVISORY = EnforcementLevel.MANDATORY, EnforcementLevel.ADVISORY


def make_run_task(name: str, **fields: Any) -> RunTask:
    """A run task of this name."""
    given = {
        "id": RunTaskId(f"rt-{name}"),
        "organization_id": ORG,
        "name": name,
        "endpoint_url": f"https://{name}.example.com/check",
        "created_by": "ann",
        "created_at": NOW,
        "updated_at": NOW,
        **fields,
    }
    return RunTask(**given)


def make_attachment(
    run_task: RunTask,
    stage: RunTaskStage = RunTaskStage.POST_PLAN,
    level: EnforcementLevel = MANDATORY,
    **fields: Any,
) -> WorkspaceRunTask:
    """An attachment to `WS`."""
    workspace_id = fields.get("workspace_id", WS)
    given = {
        "id": WorkspaceRunTaskId(f"wrt-{workspace_id}-{run_task.name}-{stage}"),
        "workspace_id": workspace_id,
        "run_task_id": run_task.id,
        "stage": stage,
        "enforcement_level": level,
        "enabled": True,
        "created_at": NOW,
        **fields,
    }
    return WorkspaceRunTask(**given)
