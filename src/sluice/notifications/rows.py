"""Turns rows into records and back."""

from typing import Any

from sqlalchemy import RowMapping

from sluice.base.ids import UserId
from sluice.notifications.model import Delivery, Notification
from sluice.wire.notification import DeliveryStatus, NotificationKind, Trigger


def notification_values(notification: Notification) -> dict[str, Any]:
    """A notification's columns, but for its lease."""
    return {
        "id": notification.id,
        "organization_id": notification.organization_id,
        "workspace_id": notification.workspace_id,
        "owner_id": notification.owner_id,
        "name": notification.name,
        "kind": notification.kind.value,
        "triggers": [trigger.value for trigger in notification.triggers],
        "enabled": notification.enabled,
        "endpoint": notification.endpoint,
        "sealed_url": notification.sealed_url,
        "sealed_secret": notification.sealed_secret,
        "recipients": list(notification.recipients),
        "user_ids": list(notification.user_ids),
        "created_by": notification.created_by,
        "created_at": notification.created_at,
        "updated_at": notification.updated_at,
    }


def notification_of(row: RowMapping) -> Notification:
    """A notification from its row."""
    return Notification(
        id=row["id"],
        organization_id=row["organization_id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        kind=NotificationKind(row["kind"]),
        triggers=tuple(Trigger(trigger) for trigger in row["triggers"]),
        enabled=row["enabled"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        leased_until=row["leased_until"],
        endpoint=row["endpoint"],
        sealed_url=row["sealed_url"],
        sealed_secret=row["sealed_secret"],
        recipients=tuple(row["recipients"]),
        user_ids=tuple(UserId(user_id) for user_id in row["user_ids"]),
    )


def delivery_values(delivery: Delivery) -> dict[str, Any]:
    """A message's columns."""
    return {
        "id": delivery.id,
        "notification_id": delivery.notification_id,
        "organization_id": delivery.organization_id,
        "workspace_id": delivery.workspace_id,
        "task_id": delivery.task_id,
        "version": delivery.version,
        "trigger": delivery.trigger.value,
        "recipient": delivery.recipient,
        "content": dict(delivery.content),
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at,
        "status_code": delivery.status_code,
        "message": delivery.message,
        "created_at": delivery.created_at,
        "last_at": delivery.last_at,
        "completed_at": delivery.completed_at,
    }


def delivery_of(row: RowMapping) -> Delivery:
    """A message from its row."""
    return Delivery(
        id=row["id"],
        notification_id=row["notification_id"],
        organization_id=row["organization_id"],
        workspace_id=row["workspace_id"],
        task_id=row["task_id"],
        version=row["version"],
        trigger=Trigger(row["trigger"]),
        recipient=row["recipient"],
        content=row["content"],
        created_at=row["created_at"],
        status=DeliveryStatus(row["status"]),
        attempts=row["attempts"],
        next_at=row["next_at"],
        status_code=row["status_code"],
        message=row["message"],
        last_at=row["last_at"],
        completed_at=row["completed_at"],
    )
