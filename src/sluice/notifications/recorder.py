"""Writes down what is to be told, in the very transaction that changes a task.

Fulfils a port that `tasks` declares. Nothing is sent here: a message that is committed is
sent by `loop.py`, of this server or another, whatever becomes of this one.
"""

from sluice.base.clock import Clock
from sluice.base.ids import WorkspaceId, new_delivery_id
from sluice.base.transactions import Tx
from sluice.notifications.model import Delivery, Notification
from sluice.notifications.payload import Happening, Names, content_of
from sluice.notifications.ports import Organizations, Outbox, Workspaces
from sluice.notifications.triggers import trigger_of
from sluice.tasks.model import Task


class NotificationRecorder:
    """Makes a message of each happening for each recipient who wants to know."""

    def __init__(
        self,
        outbox: Outbox,
        workspaces: Workspaces,
        organizations: Organizations,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._outbox = outbox
        self._workspaces = workspaces
        self._organizations = organizations
        self._clock = clock
        self._public_url = public_url

    async def changed(
        self, tx: Tx, before: Task | None, after: Task, actor: str
    ) -> None:
        """A task was made or changed; what is worth telling is kept with the change."""
        trigger = trigger_of(before, after)
        if trigger is None or after.workspace_id is None:
            return
        wanted = await self._outbox.wanted(
            tx, after.organization_id, after.workspace_id, trigger
        )
        if not wanted:
            return
        now = self._clock.now()
        names = await self._names(tx, after, after.workspace_id)
        happening = Happening(trigger, before, after, actor, now)
        messages = [
            message
            for notification in wanted
            for message in _messages(happening, notification, names)
        ]
        await self._outbox.put(tx, messages)

    async def _names(self, tx: Tx, task: Task, workspace_id: WorkspaceId) -> Names:
        workspace = await self._workspaces.get(tx, workspace_id)
        organization = await self._organizations.get_organization(
            tx, task.organization_id
        )
        return Names(
            workspace=workspace_id if workspace is None else workspace.name,
            organization=(
                task.organization_id if organization is None else organization.name
            ),
            public_url=self._public_url,
        )


def _messages(
    happening: Happening, notification: Notification, names: Names
) -> list[Delivery]:
    content = content_of(happening, notification, names)
    task, at = happening.after, happening.at
    return [
        Delivery(
            id=new_delivery_id(),
            notification_id=notification.id,
            organization_id=task.organization_id,
            workspace_id=task.home,
            task_id=task.id,
            version=task.version,
            trigger=happening.trigger,
            recipient=recipient,
            content=content,
            created_at=at,
            next_at=at,
        )
        for recipient in notification.told
    ]
