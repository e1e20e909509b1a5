"""Routes of notifications and of their messages."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Params, Transport
from sluice.wire.notification import DeliveryStatus
from sluice.wire.shapes.notifications import (
    Delivery,
    DeliveryList,
    Notification,
    NotificationChange,
    NotificationInput,
    NotificationTest,
)


class NotificationsApi:
    """Notifications of workspaces and organizations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of_workspace(self, workspace_id: str) -> list[Notification]:
        """A workspace's own notifications, by name."""
        path = api_path("workspaces", workspace_id, "notifications")
        return many(Notification, self._transport.send("GET", path))

    def of_organization(self, organization: str) -> list[Notification]:
        """An organization's notifications, for all its workspaces, by name."""
        path = api_path("organizations", organization, "notifications")
        return many(Notification, self._transport.send("GET", path))

    def create_in_workspace(
        self, workspace_id: str, body: NotificationInput
    ) -> Notification:
        """A new notification of a workspace."""
        path = api_path("workspaces", workspace_id, "notifications")
        return one(Notification, self._transport.send("POST", path, body=body))

    def create_in_organization(
        self, organization: str, body: NotificationInput
    ) -> Notification:
        """A new notification of an organization."""
        path = api_path("organizations", organization, "notifications")
        return one(Notification, self._transport.send("POST", path, body=body))

    def get(self, notification_id: str) -> Notification:
        """The notification with this id."""
        path = api_path("notifications", notification_id)
        return one(Notification, self._transport.send("GET", path))

    def update(self, notification_id: str, body: NotificationChange) -> Notification:
        """Change a notification; what ``body`` does not set stays."""
        path = api_path("notifications", notification_id)
        return one(Notification, self._transport.send("PUT", path, body=body))

    def delete(self, notification_id: str) -> None:
        """Forget a notification with its messages."""
        self._transport.send("DELETE", api_path("notifications", notification_id))

    def test(self, notification_id: str) -> NotificationTest:
        """Send a message at once, to see whether it arrives."""
        path = api_path("notifications", notification_id, "test")
        return one(NotificationTest, self._transport.send("POST", path))

    def deliveries(
        self,
        notification_id: str,
        *,
        status: DeliveryStatus | None = None,
        limit: int = 20,
    ) -> DeliveryList:
        """The last messages, and how many there are."""
        path = api_path("notifications", notification_id, "deliveries")
        params: Params = {"limit": limit, "status": status and status.value}
        return one(DeliveryList, self._transport.send("GET", path, params=params))

    def redeliver(self, notification_id: str, delivery_id: str) -> Delivery:
        """Send a message again."""
        path = api_path(
            "notifications", notification_id, "deliveries", delivery_id, "redeliver"
        )
        return one(Delivery, self._transport.send("POST", path))
