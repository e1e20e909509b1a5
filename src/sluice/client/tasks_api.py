"""Routes about tasks: create, look, decide, and their logs."""

from collections.abc import Callable, Iterator, Sequence

from sluice.base.errors import ConflictError
from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.stream import Follower, Link, open_follower
from sluice.client.transport import Transport
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.states import OutputValue
from sluice.wire.shapes.streams import StreamStats
from sluice.wire.shapes.tasks import (
    LateOutput,
    ResourceChanges,
    Task,
    TaskInput,
    TaskList,
    TaskStatus,
)
from sluice.wire.stream import Frame


class TasksApi:
    """Tasks of workspaces."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, workspace_id: str, body: TaskInput) -> Task:
        """A new task in a workspace's queue."""
        path = api_path("workspaces", workspace_id, "tasks")
        return one(Task, self._transport.send("POST", path, body=body))

    def list(
        self,
        workspace_id: str,
        *,
        status: TaskStatus | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> TaskList:
        """A workspace's tasks, newest first."""
        path = api_path("workspaces", workspace_id, "tasks")
        params = {"status": status, "limit": limit, "offset": offset}
        return one(TaskList, self._transport.send("GET", path, params=params))

    def list_all(
        self,
        organization: str,
        *,
        status: TaskStatus | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> TaskList:
        """An organization's tasks, newest first."""
        path = api_path("organizations", organization, "tasks")
        params = {"status": status, "limit": limit, "offset": offset}
        return one(TaskList, self._transport.send("GET", path, params=params))

    def get(self, task_id: str) -> Task:
        """The task with this id."""
        return one(Task, self._transport.send("GET", api_path("tasks", task_id)))

    def changes(self, task: Task) -> ResourceChanges:
        """What the task's plan changes."""
        path = _of_plan(task, "resource-changes")
        return one(ResourceChanges, self._transport.send("GET", path))

    def plan_json(self, task: Task) -> bytes:
        """The plan as `terraform show -json` gives it; it holds secrets in the clear."""
        path = _of_plan(task, "plan-json")
        return self._transport.send("GET", path).content

    def outputs(self, task_id: str) -> Sequence[OutputValue]:
        """The outputs that the task made, or would make."""
        path = api_path("tasks", task_id, "outputs")
        return many(OutputValue, self._transport.send("GET", path))

    def late_output(self, task_id: str) -> Sequence[LateOutput]:
        """Output that came after its lease had ended, what there is of it."""
        path = api_path("tasks", task_id, "late-output")
        return many(LateOutput, self._transport.send("GET", path))

    def late_bytes(self, task_id: str, lease_id: str) -> bytes:
        """The bytes of one lease's late output."""
        path = api_path("tasks", task_id, "late-output", lease_id)
        return self._transport.send("GET", path).content

    def confirm(self, task_id: str, reason: str = "") -> Task:
        """Apply the plan that waits."""
        return self._act(task_id, "confirm", reason)

    def discard(self, task_id: str, reason: str = "") -> Task:
        """Drop the plan that waits."""
        return self._act(task_id, "discard", reason)

    def cancel(self, task_id: str, reason: str = "") -> Task:
        """Stop the task at a safe point."""
        return self._act(task_id, "cancel", reason)

    def force_cancel(self, task_id: str, reason: str = "") -> Task:
        """Kill the task's process; state may be lost."""
        return self._act(task_id, "force-cancel", reason)

    def _act(self, task_id: str, verb: str, reason: str) -> Task:
        path = api_path("tasks", task_id, verb)
        body = ReasonInput(reason=reason)
        return one(Task, self._transport.send("POST", path, body=body))


class LogsApi:
    """Output of tasks."""

    def __init__(self, transport: Transport, tasks: TasksApi) -> None:
        self._transport = transport
        self._tasks = tasks

    def follower(
        self,
        task_id: str,
        after: int | None,
        *,
        on_link: Callable[[Link], None] = lambda link: None,
    ) -> Follower:
        """A reader of the output after line ``after`` (0: all; None: the last 1000)."""
        return open_follower(
            self._transport, task_id, after, task=self._tasks.get, on_link=on_link
        )

    def follow(self, task_id: str, after: int | None = 0) -> Iterator[Frame]:
        """Frames from the line after ``after`` to the log's end, each line exactly once."""
        yield from self.follower(task_id, after).frames()

    def download(
        self, task_id: str, *, part: str = "all", raw: bool = False
    ) -> Iterator[bytes]:
        """The stored log in pieces.

        Args:
            task_id: the task.
            part: ``all``, ``plan`` or ``apply``.
            raw: the log's own bytes, without head and headings.
        """
        path = api_path("tasks", task_id, "logs", "download")
        params = {"type": part, "raw": "true" if raw else None}
        with self._transport.stream(path, params=params) as response:
            yield from response.iter_bytes()

    def lines_so_far(self, task_id: str) -> int:
        """How many lines of the log have ended by now."""
        pieces = self.download(task_id, raw=True)
        return sum(piece.count(b"\n") for piece in pieces)

    def stats(self) -> StreamStats:
        """Which logs are followed on the server right now."""
        path = api_path("terraform", "streams", "stats")
        return one(StreamStats, self._transport.send("GET", path))


def _of_plan(task: Task, part: str) -> str:
    """The path of a part of the task's plan.

    Raises:
        ConflictError: the task is a script.
    """
    if task.workspace_id is None:
        raise ConflictError(f"{task.id} is a script; it has no plan.")
    return api_path("workspaces", task.workspace_id, "tasks", task.id, part)
