"""Routes about what run tasks said of tasks."""

from sluice.base.errors import ConflictError
from sluice.client.answers import one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.run_task_results import OverrideInput, RunTaskResults
from sluice.wire.shapes.tasks import Task


class RunTaskResultsApi:
    """Results of run tasks at the gates of a task."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, task: Task) -> RunTaskResults:
        """What run tasks said of the task so far, by stage and name."""
        path = _of_task(task)
        return one(RunTaskResults, self._transport.send("GET", path))

    def body(self, task: Task, outcome_id: str) -> str:
        """The Markdown of an outcome, as the service wrote it."""
        path = _of_task(task, "outcomes", outcome_id, "body")
        return self._transport.send("GET", path).content.decode(errors="replace")

    def override(self, task: Task, result_id: str, reason: str) -> RunTaskResults:
        """Let a failed mandatory result pass; all results as they are then."""
        path = _of_task(task, result_id, "override")
        body = OverrideInput(reason=reason)
        return one(RunTaskResults, self._transport.send("POST", path, body=body))


def _of_task(task: Task, *rest: str) -> str:
    """A path below the task's results.

    Raises:
        ConflictError: the task is a script.
    """
    if task.workspace_id is None:
        raise ConflictError(f"{task.id} is a script; no run task is asked of it.")
    return api_path(
        *("workspaces", task.workspace_id, "tasks", task.id, "run-task-results"), *rest
    )
