"""Routes of run tasks and of where they are attached."""

from sluice.client.answers import one
from sluice.client.paths import api_path
from sluice.client.transport import Params, Transport
from sluice.wire.shapes.run_tasks import (
    RunTask,
    RunTaskChange,
    RunTaskInput,
    RunTaskList,
    RunTaskRow,
    RunTaskTest,
    WorkspaceRunTask,
    WorkspaceRunTaskChange,
    WorkspaceRunTaskInput,
    WorkspaceRunTaskList,
)

PAGE = 100


class RunTasksApi:
    """Run tasks of organizations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization_id: str) -> list[RunTaskRow]:
        """An organization's run tasks by name, all pages."""
        path = api_path("run-tasks")
        found: list[RunTaskRow] = []
        number = 1
        while True:
            params: Params = {
                "organization_id": organization_id,
                "page": number,
                "page_size": PAGE,
            }
            answer = self._transport.send("GET", path, params=params)
            page = one(RunTaskList, answer)
            found += page.run_tasks
            if not page.run_tasks or len(found) >= page.pagination.total:
                return found
            number += 1

    def create(self, body: RunTaskInput) -> RunTask:
        """A new run task."""
        answer = self._transport.send("POST", api_path("run-tasks"), body=body)
        return one(RunTask, answer)

    def get(self, run_task_id: str) -> RunTask:
        """The run task with this id."""
        path = api_path("run-tasks", run_task_id)
        return one(RunTask, self._transport.send("GET", path))

    def update(self, run_task_id: str, body: RunTaskChange) -> RunTask:
        """Change a run task; what ``body`` does not set stays."""
        path = api_path("run-tasks", run_task_id)
        return one(RunTask, self._transport.send("PUT", path, body=body))

    def delete(self, run_task_id: str, *, force: bool = False) -> None:
        """Forget a run task; ``force`` also one that is attached."""
        path = api_path("run-tasks", run_task_id)
        self._transport.send("DELETE", path, params={"force": force or None})

    def test(self, run_task_id: str) -> RunTaskTest:
        """Send the service a verification call."""
        path = api_path("run-tasks", run_task_id, "test")
        return one(RunTaskTest, self._transport.send("POST", path))


class WorkspaceRunTasksApi:
    """Attachments of run tasks to workspaces."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, workspace_id: str) -> list[WorkspaceRunTask]:
        """A workspace's attachments by the run task's name and the stage, all pages."""
        path = api_path("workspaces", workspace_id, "run-tasks")
        found: list[WorkspaceRunTask] = []
        number = 1
        while True:
            params = {"page": number, "page_size": PAGE}
            answer = self._transport.send("GET", path, params=params)
            page = one(WorkspaceRunTaskList, answer)
            found += page.workspace_run_tasks
            if not page.workspace_run_tasks or len(found) >= page.pagination.total:
                return found
            number += 1

    def create(
        self, workspace_id: str, body: WorkspaceRunTaskInput
    ) -> WorkspaceRunTask:
        """Have a run task asked in a workspace."""
        path = api_path("workspaces", workspace_id, "run-tasks")
        return one(WorkspaceRunTask, self._transport.send("POST", path, body=body))

    def update(
        self, workspace_id: str, attachment_id: str, body: WorkspaceRunTaskChange
    ) -> WorkspaceRunTask:
        """Change an attachment; what ``body`` does not set stays."""
        path = api_path("workspaces", workspace_id, "run-tasks", attachment_id)
        return one(WorkspaceRunTask, self._transport.send("PUT", path, body=body))

    def delete(self, workspace_id: str, attachment_id: str) -> None:
        """Forget an attachment."""
        path = api_path("workspaces", workspace_id, "run-tasks", attachment_id)
        self._transport.send("DELETE", path)
