"""Decides what a service is sent: HCP Terraform's run task request, with fields of our own.

The fields and their order are those of
https://developer.hashicorp.com/terraform/cloud-docs/api-docs/run-tasks/run-tasks-integration;
behind them stands what only Sluice has. Every address in it is absolute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.runtasks.model import Result, RunTask
from sluice.tasks.model import Task
from sluice.wire.run_task import RunTaskStage, instant
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.model import Workspace

VERSION = 1
_ABSENT_VCS = (
    "vcs_branch",
    "vcs_commit_url",
    "vcs_commit_hash",
    "vcs_pull_request_url",
    "vcs_repo_url",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a service is asked about, and where its answer goes.

    Attributes:
        organization_name: whose workspace it is.
        public_url: the server's address, as others reach it.
    """

    result: Result
    run_task: RunTask
    task: Task
    workspace: Workspace
    organization_name: str
    public_url: str

    @property
    def task_api_url(self) -> str:
        """Where the task's data lies."""
        return f"{self.public_url}/api/v1/workspaces/{self.workspace.id}/tasks/{self.task.id}"

    @property
    def workspace_app_url(self) -> str:
        """The workspace's page."""
        return f"{self.public_url}/workspaces/{self.workspace.id}"

    @property
    def task_app_url(self) -> str:
        """The task's page."""
        return f"{self.workspace_app_url}/tasks/{self.task.id}"


def payload_of(subject: Subject) -> dict[str, Any]:
    """All that is sent but the access token (`with_token`)."""
    return {**_as_hcp(subject), **_our_own(subject)}


def with_token(payload: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The payload with the token in its place, behind the stage."""
    sent: dict[str, Any] = {}
    for name, value in payload.items():
        sent[name] = value
        if name == "stage":
            sent["access_token"] = token
    return sent


def _as_hcp(subject: Subject) -> dict[str, Any]:
    result, task, workspace = subject.result, subject.task, subject.workspace
    capabilities = {"outcomes": True}
    configured = task.configuration_version_id is not None
    return {
        "payload_version": VERSION,
        "stage": result.stage.value,
        "capabilities": capabilities,
        # so it is spelled in go-tfe's RunTaskRequest, and so services in Go look for it:
        # https://github.com/hashicorp/go-tfe/blob/main/run_task_request.go
        "capabilitites": capabilities,
        "configuration_version_download_url": (
            f"{subject.task_api_url}/configuration" if configured else None
        ),
        "configuration_version_id": task.configuration_version_id or "",
        "is_speculative": task.task_type is TaskType.PLAN,
        "organization_name": subject.organization_name,
        **_plan_url(subject),
        **_project(subject),
        "run_app_url": subject.task_app_url,
        "run_created_at": instant(task.created_at),
        "run_created_by": task.created_by,
        "run_id": f"run-{task.id.removeprefix('task-')}",
        "run_message": task.message,
        "task_result_callback_url": callback_url(subject.public_url, result),
        "task_result_enforcement_level": result.level.value,
        "task_result_id": result.id,
        **dict.fromkeys(_ABSENT_VCS),
        "workspace_app_url": subject.workspace_app_url,
        "workspace_id": workspace.id,
        "workspace_name": workspace.name,
        "workspace_working_directory": task.working_directory,
    }


def callback_url(public_url: str, result: Result) -> str:
    """Where the service sends what it says."""
    return f"{public_url}/api/v1/task-results/{result.id}/callback"


def has_plan(stage: RunTaskStage) -> bool:
    """Whether there is a plan when this stage asks."""
    return stage is not RunTaskStage.PRE_PLAN


def _plan_url(subject: Subject) -> dict[str, str]:
    if not has_plan(subject.result.stage):
        return {}
    return {"plan_json_api_url": f"{subject.task_api_url}/plan-json"}


def _project(subject: Subject) -> dict[str, str]:
    """An organization is one project: services that want a project's name get one."""
    organization_id = subject.task.organization_id
    return {
        "project_id": f"prj-{organization_id.removeprefix('org-')}",
        "project_name": "Default Project",
        "project_app_url": f"{subject.public_url}/workspaces",
    }


def _our_own(subject: Subject) -> dict[str, Any]:
    task, workspace = subject.task, subject.workspace
    return {
        "task_id": task.id,
        "task_type": task.task_type.value,
        "task_status": task.status.value,
        "task_description": task.message,
        "task_created_at": instant(task.created_at),
        "task_created_by": task.created_by,
        "task_app_url": subject.task_app_url,
        "workspace_workdir": task.working_directory,
        "workspace_terraform_version": task.resolved_version or task.terraform_version,
        "workspace_execution_mode": workspace.execution_mode.value,
        "team_id": subject.run_task.team_id,
        "timeout_seconds": subject.result.timeout_seconds,
        **_plan(subject),
    }


def _plan(subject: Subject) -> dict[str, Any]:
    if not has_plan(subject.result.stage):
        return {}
    summary = subject.task.summary
    return {
        "plan_changes": {
            "add": summary.add if summary else 0,
            "change": summary.change if summary else 0,
            "destroy": summary.destroy if summary else 0,
        },
        "resource_changes_api_url": f"{subject.task_api_url}/resource-changes",
    }
