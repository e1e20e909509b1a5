"""What run tasks need from a store of their definitions, and what they may know of workspaces."""

from collections.abc import Collection
from typing import Protocol

from sluice.base.ids import (
    OrganizationId,
    RunTaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.runtasks.model import Asked, RunTask, WorkspaceRunTask
from sluice.runtasks.result_ports import Sender
from sluice.workspaces.model import Workspace


class Definitions(Protocol):
    """Run tasks as those who ask them need them."""

    async def get(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """A run task."""
        ...

    async def asked_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Asked]:
        """All that is to be asked in a workspace, global or attached, by name.

        One for each (run task, stage): where it is both, it is enabled if one of them is,
        and the stricter level of those that are enabled counts. After the apply all are
        advisory.
        """
        ...


class RunTaskStore(Definitions, Protocol):
    """Run tasks and where they are attached."""

    async def add(self, tx: Tx, run_task: RunTask) -> None:
        """Keep a new run task.

        Raises:
            ConflictError: the organization has one of this name.
        """
        ...

    async def hold(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """The run task, kept from others' changes until the transaction ends."""
        ...

    async def get_many(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, RunTask]:
        """Run tasks by their ids; those unknown are left out."""
        ...

    async def page(
        self, tx: Tx, organization_id: OrganizationId, page: Page
    ) -> tuple[list[RunTask], int]:
        """An organization's run tasks by name, and how many there are."""
        ...

    async def save(self, tx: Tx, run_task: RunTask) -> None:
        """Store a changed run task.

        Raises:
            ConflictError: the organization has another one of this name.
        """
        ...

    async def delete(self, tx: Tx, run_task_id: RunTaskId) -> None:
        """Forget a run task with its attachments; its results stay."""
        ...

    async def workspace_counts(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, int]:
        """In how many workspaces they are attached; those without are left out."""
        ...

    async def workspaces_with(
        self, tx: Tx, run_task_id: RunTaskId
    ) -> list[WorkspaceId]:
        """Workspaces in which it is attached, each once."""
        ...

    async def attach(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Keep a new attachment.

        Raises:
            ConflictError: it is attached to this workspace at this stage.
        """
        ...

    async def attachments(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> list[WorkspaceRunTask]:
        """A workspace's attachments, in the order in which they were made."""
        ...

    async def get_attachment(
        self, tx: Tx, workspace_id: WorkspaceId, attachment_id: WorkspaceRunTaskId
    ) -> WorkspaceRunTask | None:
        """A workspace's attachment."""
        ...

    async def save_attachment(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Store a changed attachment.

        Raises:
            ConflictError: the run task is attached there at this stage already.
        """
        ...

    async def detach(self, tx: Tx, attachment_id: WorkspaceRunTaskId) -> None:
        """Forget an attachment."""
        ...

    async def detach_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all attachments of a workspace."""
        ...


class Workspaces(Protocol):
    """What run tasks may know of workspaces (`workspaces.ports.WorkspaceStore`)."""

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace, kept from others' writes until the transaction ends."""
        ...

    async def get_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """Workspaces by their ids; those unknown are left out."""
        ...


class Endpoints(Sender, Protocol):
    """Judges addresses that users typed, and sends to them (`edge.outgoing.Outgoing`)."""

    def check_url(self, url: str) -> None:
        """Refuse an address that can never be called.

        Raises:
            InvalidInputError: the detail names the field `endpoint_url`.
        """
        ...
