"""What the routes of a log need to know of its task, and how they learn it."""

from dataclasses import dataclass
from typing import Protocol

from sluice.base.clock import Clock
from sluice.base.ids import TaskId
from sluice.logs.logbook import Logs
from sluice.logs.tails import Tails
from sluice.tasks.actions import TaskDeps, get_task
from sluice.tasks.model import Task
from sluice.tasks.viewers import Admission, StreamLimits


class TaskFacts(Protocol):
    """Knows tasks."""

    async def task(self, task_id: TaskId) -> Task:
        """The task.

        Raises:
            NotFoundError: there is none with this id.
        """
        ...


class StoredTasks:
    """`TaskFacts` from the tasks' own store."""

    def __init__(self, deps: TaskDeps) -> None:
        self._deps = deps

    async def task(self, task_id: TaskId) -> Task:
        """The task.

        Raises:
            NotFoundError: there is none with this id.
        """
        return await get_task(self._deps, task_id=task_id)


@dataclass(frozen=True, slots=True)
class LogApiDeps:
    """What the routes of logs work with."""

    tasks: TaskFacts
    logs: Logs
    tails: Tails
    admission: Admission
    clock: Clock

    @property
    def limits(self) -> StreamLimits:
        """Limits of live streams."""
        return self.admission.limits


def log_api_deps(
    tasks: TaskDeps, logs: Logs, tails: Tails, limits: StreamLimits
) -> LogApiDeps:
    """The routes' needs, from a server's parts."""
    admission = Admission(limits, tasks.clock)
    return LogApiDeps(StoredTasks(tasks), logs, tails, admission, tasks.clock)
