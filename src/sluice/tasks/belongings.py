"""What workspaces ask about their tasks: do they stand against a deletion, and what goes."""

from sluice.base.ids import TaskId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.tasks.ports import LateOutputStore, LogRemoval, TaskStore


class WorkspaceTasks:
    """The tasks of a workspace (`workspaces.ports.Belongings` and `.Tasks`)."""

    def __init__(
        self, store: TaskStore, logs: LogRemoval, late: LateOutputStore
    ) -> None:
        self._store = store
        self._logs = logs
        self._late = late

    async def unfinished(self, tx: Tx, task_id: TaskId) -> bool:
        """Whether there is such a task and it has not ended."""
        task = await self._store.get(tx, task_id)
        return task is not None and not task.terminal

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Why the workspace should not be deleted: tasks that have not ended."""
        tasks = await self._store.of_workspace(tx, workspace_id)
        going = [task for task in tasks if not task.terminal]
        if not going:
            return None
        if len(going) == 1:
            return f"{going[0].id} has not ended (it is {going[0].status})"
        return f"{len(going)} tasks have not ended, {going[0].id} first"

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete the tasks' rows and logs; stored plans and archived logs may go then."""
        tasks = await self._store.of_workspace(tx, workspace_id)
        keys: list[str | None] = []
        for task in tasks:
            archived = await self._logs.remove(tx, task.id)
            await self._late.remove(tx, task.id)
            keys += (archived, task.plan_blob, task.plan_json_blob)
        await self._store.delete_all(tx, workspace_id)
        return [key for key in keys if key is not None]
