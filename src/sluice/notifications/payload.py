"""Makes what is told of a happening: one JSON document, from which all kinds are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.notifications.model import Notification
from sluice.tasks.model import Task
from sluice.wire.notification import TEST_TYPE, Trigger
from sluice.wire.run_task import instant
from sluice.wire.texts import harmless

TEXT_LENGTH = 2000
"""Longest text of a task that is told; its log has the rest."""


@dataclass(frozen=True, slots=True)
class Names:
    """What people call the places, and where the server is reached."""

    workspace: str
    organization: str
    public_url: str


@dataclass(frozen=True, slots=True)
class Happening:
    """A change of a task.

    Attributes:
        before: the task as it was; None for a new one.
        actor: who did it: a user, an agent, or `server`.
    """

    trigger: Trigger
    before: Task | None
    after: Task
    actor: str
    at: datetime


def content_of(
    happening: Happening, notification: Notification, names: Names
) -> Mapping[str, Any]:
    """The document of a happening, as Standard Webhooks lays it out."""
    task, before = happening.after, happening.before
    return {
        "type": happening.trigger.value,
        "timestamp": instant(happening.at),
        "data": {
            "notification": _notification(notification),
            "organization": {
                "id": task.organization_id,
                "name": names.organization,
            },
            "workspace": {"id": task.workspace_id, "name": names.workspace},
            "task": {
                "id": task.id,
                "type": task.task_type.value,
                "message": _cut(task.message),
                "created_by": task.created_by,
                "created_at": instant(task.created_at),
            },
            "previous_status": None if before is None else before.status.value,
            "status": task.status.value,
            "reason": _cut(task.error or task.reason),
            "actor": happening.actor,
            "links": {
                "task": f"{names.public_url}/workspaces/{task.workspace_id}/tasks/{task.id}",
                "api": f"{names.public_url}/api/v1/tasks/{task.id}",
            },
        },
    }


def trial_content(
    notification: Notification, public_url: str, *, actor: str, at: datetime
) -> Mapping[str, Any]:
    """The document of a message that only shows whether messages arrive."""
    return {
        "type": TEST_TYPE,
        "timestamp": instant(at),
        "data": {
            "notification": _notification(notification),
            "actor": actor,
            "links": {"api": f"{public_url}/api/v1/notifications/{notification.id}"},
        },
    }


def _notification(notification: Notification) -> Mapping[str, str]:
    return {"id": notification.id, "name": notification.name}


def _cut(text: str) -> str:
    shown = harmless(text)
    return shown if len(shown) <= TEXT_LENGTH else shown[: TEXT_LENGTH - 1] + "…"
