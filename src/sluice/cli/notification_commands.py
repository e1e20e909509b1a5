"""`sluice notification …`: who is told of what tasks do, and what came of it."""

from typing import Annotated

import typer

from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.groups import new_group
from sluice.cli.notification_options import (
    NotificationChanges,
    NotificationFields,
    NotificationName,
    OfWorkspace,
    find_notification,
    notifications_of,
)
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    organization_of,
    wanted_organization,
)
from sluice.wire.notification import DeliveryStatus, NotificationKind, Trigger
from sluice.wire.shapes.notifications import (
    Notification,
    NotificationChange,
    NotificationInput,
)

app = new_group("Notifications: webhooks, Slack messages and e-mail about tasks.")

_USUAL = [
    Trigger.NEEDS_ATTENTION,
    Trigger.COMPLETED,
    Trigger.ERRORED,
    Trigger.CANCELED,
    Trigger.AGENT_LOST,
]


@app.command("list")
@takes_records
def list_notifications(
    *, workspace: OfWorkspace = None, where: InOrganization, session: Session
) -> None:
    """List the notifications of an organization, or of a workspace."""
    found = notifications_of(session, workspace, where)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "There are no notifications here yet;"
            " `sluice notification create NAME --kind KIND` makes one."
        )
        return
    session.console.table(
        ["NAME", "KIND", "TO", "STATUS", "ID"],
        [
            [item.name, item.kind, _to(item), _status(item), item.notification_id]
            for item in found
        ],
    )


@app.command("show")
@takes_records
def show(
    notification: NotificationName,
    *,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Show a notification; its URL and its secret are never shown."""
    found = find_notification(session, notification, workspace, where)
    if session.json:
        session.console.json(found)
        return
    now = session.clock.now()
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.notification_id),
            ("Kind", found.kind),
            ("Of", found.workspace_id or "all workspaces of the organization"),
            ("To", _to(found)),
            ("On", ", ".join(found.triggers) or "-"),
            ("Status", _status(found)),
            ("Signed", "yes" if found.secret_set else "no"),
            ("Created", f"{words.ago(found.created_at, now)} by {found.created_by}"),
            ("Changed", words.ago(found.updated_at, now)),
        ]
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    kind: Annotated[NotificationKind, typer.Option("--kind", help="How it is told.")],
    values: NotificationFields,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Have somebody told of what tasks do from now on."""
    given = {"triggers": _USUAL, **values.given()}
    body = NotificationInput(name=name, kind=kind, **given)
    if workspace is None:
        owner = organization_of(session, where)
        created = session.api.notifications.create_in_organization(owner.id, body)
    else:
        organization = wanted_organization(session, where)
        home = find_workspace(session.api, workspace, organization=organization)
        created = session.api.notifications.create_in_workspace(home.id, body)
    if session.json:
        session.console.json(created)
        return
    session.console.good(
        f"Created notification {created.name} ({created.notification_id})."
    )
    session.console.hint(
        f"`sluice notification test {created.notification_id}` shows whether it arrives."
    )


@app.command("update")
@takes_records
def update(
    notification: NotificationName,
    *,
    changes: NotificationChanges,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Change a notification; what is not given stays."""
    change = NotificationChange(**changes.given())
    found = find_notification(session, notification, workspace, where)
    changed = session.api.notifications.update(found.notification_id, change)
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"Changed notification {changed.name}.")


@app.command("delete")
@takes_records
def delete(
    notification: NotificationName,
    *,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Forget a notification with its messages; what waits is not sent."""
    found = find_notification(session, notification, workspace, where)
    session.api.notifications.delete(found.notification_id)
    if session.json:
        session.console.json({"id": found.notification_id, "deleted": True})
        return
    session.console.good(f"Removed notification {found.name}.")


@app.command("test")
@takes_records
def try_out(
    notification: NotificationName,
    *,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> int:
    """Send a message at once; ends with 0 where it is taken."""
    found = find_notification(session, notification, workspace, where)
    told = session.api.notifications.test(found.notification_id)
    if session.json:
        session.console.json(told)
    elif told.ok:
        session.console.good(told.message)
    else:
        session.console.bad(told.message)
    return ExitCode.OK if told.ok else ExitCode.FAILED


@app.command("deliveries")
@takes_records
def deliveries(
    notification: NotificationName,
    *,
    status: Annotated[
        DeliveryStatus | None,
        typer.Option("--status", help="Those alone that stand so."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100, help="So many at most.")
    ] = 20,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Show the last messages of a notification, and what came of them."""
    owner = find_notification(session, notification, workspace, where)
    found = session.api.notifications.deliveries(
        owner.notification_id, status=status, limit=limit
    )
    if session.json:
        session.console.json(found)
        return
    if not found.deliveries:
        session.console.hint("There are no messages yet.")
        return
    now = session.clock.now()
    session.console.table(
        ["CREATED", "TRIGGER", "TASK", "STATUS", "TRIES", "ID", "WHY"],
        [
            [
                words.ago(item.created_at, now),
                item.trigger,
                item.task_id,
                item.status,
                str(item.attempts),
                item.delivery_id,
                item.message,
            ]
            for item in found.deliveries
        ],
    )


@app.command("redeliver")
@takes_records
def redeliver(
    notification: NotificationName,
    delivery: Annotated[
        str, typer.Argument(metavar="DELIVERY", help="The message's id.")
    ],
    *,
    workspace: OfWorkspace = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Send a message again, under the same id."""
    owner = find_notification(session, notification, workspace, where)
    again = session.api.notifications.redeliver(owner.notification_id, delivery)
    if session.json:
        session.console.json(again)
        return
    session.console.good(f"{again.delivery_id} is sent again.")


def _to(notification: Notification) -> str:
    if notification.kind is NotificationKind.EMAIL:
        return ", ".join((*notification.recipients, *notification.users))
    return notification.endpoint


def _status(notification: Notification) -> str:
    return "enabled" if notification.enabled else "disabled"
