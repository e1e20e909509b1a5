"""Run tasks and their attachments in dicts."""

from collections.abc import Collection

from sluice.base.errors import ConflictError
from sluice.base.ids import (
    OrganizationId,
    RunTaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.runtasks.asking import asked_of
from sluice.runtasks.model import Asked, RunTask, WorkspaceRunTask
from sluice.testing.memory import MemoryTransactions, reading, writing


class MemoryRunTaskStore:
    """The in-memory twin of `SqlRunTaskStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._rows = transactions.table(dict[RunTaskId, RunTask]())
        self._attached = transactions.table(
            dict[WorkspaceRunTaskId, WorkspaceRunTask]()
        )

    async def add(self, tx: Tx, run_task: RunTask) -> None:
        """Keep a new run task."""
        writing(tx)
        self._put(run_task)

    async def get(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """A run task."""
        reading(tx)
        return self._rows.get(run_task_id)

    async def hold(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """The run task; transactions run one at a time, so it is held."""
        writing(tx)
        return self._rows.get(run_task_id)

    async def get_many(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, RunTask]:
        """Run tasks by their ids; those unknown are left out."""
        reading(tx)
        return {row.id: row for row in self._rows.values() if row.id in run_task_ids}

    async def page(
        self, tx: Tx, organization_id: OrganizationId, page: Page
    ) -> tuple[list[RunTask], int]:
        """An organization's run tasks by name, and how many there are."""
        reading(tx)
        own = sorted(
            (
                row
                for row in self._rows.values()
                if row.organization_id == organization_id
            ),
            key=lambda row: row.name,
        )
        return own[page.offset : page.offset + page.limit], len(own)

    async def save(self, tx: Tx, run_task: RunTask) -> None:
        """Store a changed run task."""
        writing(tx)
        if run_task.id in self._rows:
            self._put(run_task)

    async def delete(self, tx: Tx, run_task_id: RunTaskId) -> None:
        """Forget a run task with its attachments."""
        writing(tx)
        self._rows.pop(run_task_id, None)
        for row in list(self._attached.values()):
            if row.run_task_id == run_task_id:
                del self._attached[row.id]

    async def asked_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Asked]:
        """All that is to be asked in a workspace, by name and stage."""
        attached = await self.attachments(tx, workspace_id)
        ids = {attachment.run_task_id for attachment in attached}
        return asked_of(
            [
                row
                for row in self._rows.values()
                if row.organization_id == organization_id
                and (row.is_global or row.id in ids)
            ],
            attached,
        )

    async def workspace_counts(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, int]:
        """In how many workspaces they are attached; those without are left out."""
        counts = {
            run_task_id: len(await self.workspaces_with(tx, run_task_id))
            for run_task_id in run_task_ids
        }
        return {run_task_id: count for run_task_id, count in counts.items() if count}

    async def workspaces_with(
        self, tx: Tx, run_task_id: RunTaskId
    ) -> list[WorkspaceId]:
        """Workspaces in which it is attached, each once."""
        reading(tx)
        return list(
            {
                row.workspace_id
                for row in self._attached.values()
                if row.run_task_id == run_task_id
            }
        )

    async def attach(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Keep a new attachment."""
        writing(tx)
        self._put_attachment(attachment)

    async def attachments(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> list[WorkspaceRunTask]:
        """A workspace's attachments, in the order in which they were made."""
        reading(tx)
        own = (
            row for row in self._attached.values() if row.workspace_id == workspace_id
        )
        return sorted(own, key=lambda row: (row.created_at, row.id))

    async def get_attachment(
        self, tx: Tx, workspace_id: WorkspaceId, attachment_id: WorkspaceRunTaskId
    ) -> WorkspaceRunTask | None:
        """A workspace's attachment."""
        reading(tx)
        row = self._attached.get(attachment_id)
        return row if row is not None and row.workspace_id == workspace_id else None

    async def save_attachment(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Store a changed attachment."""
        writing(tx)
        if attachment.id in self._attached:
            self._put_attachment(attachment)

    async def detach(self, tx: Tx, attachment_id: WorkspaceRunTaskId) -> None:
        """Forget an attachment."""
        writing(tx)
        self._attached.pop(attachment_id, None)

    async def detach_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all attachments of a workspace."""
        writing(tx)
        for row in list(self._attached.values()):
            if row.workspace_id == workspace_id:
                del self._attached[row.id]

    def _put(self, run_task: RunTask) -> None:
        for row in self._rows.values():
            same = (row.organization_id, row.name) == (
                run_task.organization_id,
                run_task.name,
            )
            if same and row.id != run_task.id:
                raise ConflictError(
                    f"The organization has a run task {run_task.name!r} already; "
                    "choose another name."
                )
        self._rows[run_task.id] = run_task

    def _put_attachment(self, attachment: WorkspaceRunTask) -> None:
        for row in self._attached.values():
            same = (row.workspace_id, row.run_task_id, row.stage) == (
                attachment.workspace_id,
                attachment.run_task_id,
                attachment.stage,
            )
            if same and row.id != attachment.id:
                raise ConflictError(
                    f"The run task {attachment.run_task_id} is attached to this workspace "
                    f"at {attachment.stage} already; change that attachment, or detach it first."
                )
        self._attached[attachment.id] = attachment
