"""Routes of notifications and of the messages that were sent."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import HTTPConnection

from sluice.auth.guard import permit, require
from sluice.auth.model import Place, Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import DeliveryId, NotificationId, WorkspaceId
from sluice.base.paging import MAX_LIMIT, Page
from sluice.notifications import actions
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.model import Delivery, Notification
from sluice.notifications.schedule import Outcome, Tried
from sluice.wire.notification import DeliveryStatus
from sluice.wire.shapes import notifications as shapes
from sluice.wire.shapes.notifications import NotificationChange, NotificationInput

OfWorkspace = Annotated[Principal, Depends(require(Permission.ADMIN_WORKSPACE))]
OfOrganization = Annotated[Principal, Depends(require(Permission.MANAGE_ORGANIZATION))]
Caller = Annotated[Principal, Depends(require(Permission.READ))]
Admit = Callable[[HTTPConnection, NotificationId], Awaitable[Principal]]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=2**31)]


def build_router(deps: NotificationDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["notifications"])
    _add_of_workspaces(router, deps)
    _add_of_organizations(router, deps)
    admit = _gate(deps)
    _add_single(router, deps, admit)
    _add_messages(router, deps, admit)
    return router


def _gate(deps: NotificationDeps) -> Admit:
    """Who may read a place may not yet see whom its notifications tell."""

    async def admit(
        connection: HTTPConnection, notification_id: NotificationId
    ) -> Principal:
        found = await actions.get_notification(deps, notification_id=notification_id)
        wanted = Permission.ADMIN_WORKSPACE
        if found.workspace_id is None:
            wanted = Permission.MANAGE_ORGANIZATION
        place = Place(found.organization_id, found.workspace_id)
        return await permit(connection, place, wanted)

    return admit


def _add_of_workspaces(router: APIRouter, deps: NotificationDeps) -> None:
    path = "/workspaces/{workspace_id}/notifications"

    @router.get(path)
    async def list_workspace_notifications(
        workspace_id: str, _: OfWorkspace
    ) -> list[shapes.Notification]:
        """A workspace's own notifications by name; the organization's are not among them."""
        place = await actions.place_of_workspace(deps, WorkspaceId(workspace_id))
        found = await actions.list_notifications(deps, place=place)
        return [_shown(notification) for notification in found]

    @router.post(path, status_code=201)
    async def create_workspace_notification(
        workspace_id: str, given: NotificationInput, caller: OfWorkspace
    ) -> shapes.Notification:
        """Have somebody told of what tasks of a workspace do from now on."""
        place = await actions.place_of_workspace(deps, WorkspaceId(workspace_id))
        made = await actions.create_notification(
            deps, place=place, wanted=given, actor=caller.actor
        )
        return _shown(made)


def _add_of_organizations(router: APIRouter, deps: NotificationDeps) -> None:
    path = "/organizations/{organization}/notifications"

    @router.get(path)
    async def list_organization_notifications(
        organization: str, _: OfOrganization
    ) -> list[shapes.Notification]:
        """An organization's notifications, for all its workspaces, by name."""
        place = await actions.place_of_organization(deps, organization)
        found = await actions.list_notifications(deps, place=place)
        return [_shown(notification) for notification in found]

    @router.post(path, status_code=201)
    async def create_organization_notification(
        organization: str, given: NotificationInput, caller: OfOrganization
    ) -> shapes.Notification:
        """Have somebody told of what tasks of all workspaces do from now on."""
        place = await actions.place_of_organization(deps, organization)
        made = await actions.create_notification(
            deps, place=place, wanted=given, actor=caller.actor
        )
        return _shown(made)


def _add_single(router: APIRouter, deps: NotificationDeps, admit: Admit) -> None:
    path = "/notifications/{notification_id}"

    @router.get(path)
    async def get_notification(
        connection: HTTPConnection, notification_id: str, _: Caller
    ) -> shapes.Notification:
        """One notification; its URL and its secret are never shown."""
        wanted = NotificationId(notification_id)
        await admit(connection, wanted)
        found = await actions.get_notification(deps, notification_id=wanted)
        return _shown(found)

    @router.put(path)
    async def change_notification(
        connection: HTTPConnection,
        notification_id: str,
        given: NotificationChange,
        _: Caller,
    ) -> shapes.Notification:
        """Change a notification; switched off, it sends nothing of what waits."""
        wanted = NotificationId(notification_id)
        caller = await admit(connection, wanted)
        changed = await actions.change_notification(
            deps, notification_id=wanted, change=given, actor=caller.actor
        )
        return _shown(changed)

    @router.delete(path, status_code=204)
    async def delete_notification(
        connection: HTTPConnection, notification_id: str, _: Caller
    ) -> None:
        """Forget a notification with its messages; what waits is not sent."""
        wanted = NotificationId(notification_id)
        caller = await admit(connection, wanted)
        await actions.delete_notification(
            deps, notification_id=wanted, actor=caller.actor
        )

    @router.post(f"{path}/test")
    async def try_notification(
        connection: HTTPConnection, notification_id: str, _: Caller
    ) -> shapes.NotificationTest:
        """Send a message at once, to see whether it arrives."""
        wanted = NotificationId(notification_id)
        caller = await admit(connection, wanted)
        tried = await actions.try_notification(
            deps, notification_id=wanted, actor=caller.actor
        )
        return _tested(tried)


def _add_messages(router: APIRouter, deps: NotificationDeps, admit: Admit) -> None:
    path = "/notifications/{notification_id}/deliveries"

    @router.get(path)
    async def list_deliveries(
        connection: HTTPConnection,
        notification_id: str,
        _: Caller,
        status: DeliveryStatus | None = None,
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> shapes.DeliveryList:
        """A notification's messages, the last first, and what came of them."""
        wanted = NotificationId(notification_id)
        await admit(connection, wanted)
        found, total = await actions.list_deliveries(
            deps, notification_id=wanted, status=status, page=Page(limit, offset)
        )
        rows = [_delivery(delivery) for delivery in found]
        return shapes.DeliveryList(deliveries=rows, total=total)

    @router.post(
        f"{path}/{{delivery_id}}/redeliver",
        status_code=202,
        responses={409: {"description": "It waits already, or nothing is sent."}},
    )
    async def redeliver(
        connection: HTTPConnection, notification_id: str, delivery_id: str, _: Caller
    ) -> shapes.Delivery:
        """Send a message again, under the same id."""
        wanted = NotificationId(notification_id)
        caller = await admit(connection, wanted)
        again = await actions.redeliver(
            deps,
            notification_id=wanted,
            delivery_id=DeliveryId(delivery_id),
            actor=caller.actor,
        )
        return _delivery(again)


def _shown(notification: Notification) -> shapes.Notification:
    """A notification as the API shows it: of its secret only that there is one."""
    return shapes.Notification(
        notification_id=notification.id,
        organization_id=notification.organization_id,
        workspace_id=notification.workspace_id,
        name=notification.name,
        kind=notification.kind,
        triggers=list(notification.triggers),
        enabled=notification.enabled,
        endpoint=notification.endpoint,
        secret_set=notification.sealed_secret is not None,
        recipients=list(notification.recipients),
        users=list(notification.user_ids),
        created_by=notification.created_by,
        created_at=notification.created_at,
        updated_at=notification.updated_at,
    )


def _tested(tried: Tried) -> shapes.NotificationTest:
    taken = tried.outcome is Outcome.SENT
    message = "The message was taken." if taken else f"It was not taken: {tried.why}."
    return shapes.NotificationTest(
        ok=taken, status_code=tried.status_code, message=message.replace("..", ".")
    )


def _delivery(delivery: Delivery) -> shapes.Delivery:
    return shapes.Delivery(
        delivery_id=delivery.id,
        notification_id=delivery.notification_id,
        task_id=delivery.task_id,
        workspace_id=delivery.workspace_id,
        trigger=delivery.trigger,
        recipient=delivery.recipient,
        status=delivery.status,
        attempts=delivery.attempts,
        status_code=delivery.status_code,
        message=delivery.message,
        created_at=delivery.created_at,
        last_try_at=delivery.last_at,
        next_try_at=delivery.next_at,
        completed_at=delivery.completed_at,
    )
