"""What people can do with notifications: make, look up, change, delete and test them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from sluice.auth.actions import get_organization
from sluice.auth.audit_entries import new_entry
from sluice.auth.model import Place
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import (
    DeliveryId,
    NotificationId,
    OrganizationId,
    UserId,
    WorkspaceId,
    new_delivery_id,
    new_notification_id,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.events.topics import NOTIFICATIONS
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.mail import is_address
from sluice.notifications.model import Delivery, Notification
from sluice.notifications.payload import trial_content
from sluice.notifications.schedule import Outcome, Tried, anew
from sluice.notifications.sealing import with_secret, with_url
from sluice.notifications.sender import send
from sluice.notifications.triggers import in_order
from sluice.wire.notification import DeliveryStatus, NotificationKind
from sluice.wire.shapes.notifications import NotificationChange, NotificationInput
from sluice.wire.texts import one_line

MOST = 50
"""So many notifications a workspace or an organization has at most of its own."""
TESTED = 5
"""A test of e-mail goes to so many recipients at most."""
_LEASE = "leased_until"
_SHOWN_AS = {"sealed_url": "endpoint_url", "sealed_secret": "secret"}


async def place_of_workspace(
    deps: NotificationDeps, workspace_id: WorkspaceId
) -> Place:
    """Where a workspace lies.

    Raises:
        NotFoundError: there is no such workspace.
    """
    async with deps.transactions.read() as tx:
        found = await deps.workspaces.get(tx, workspace_id)
    if found is None:
        raise NotFoundError(f"There is no workspace {workspace_id}.")
    return Place(found.organization_id, found.id)


async def place_of_organization(deps: NotificationDeps, id_or_name: str) -> Place:
    """The place that an organization is.

    Raises:
        NotFoundError: there is no such organization.
    """
    return Place((await get_organization(deps.auth, id_or_name=id_or_name)).id)


async def create_notification(
    deps: NotificationDeps, *, place: Place, wanted: NotificationInput, actor: str
) -> Notification:
    """Make a notification; it tells of what happens from now on.

    Raises:
        InvalidInputError: it cannot be taken as it is; the detail names the field.
        ConflictError: there is one of this name here, or there are too many.
    """
    now = deps.clock.now()
    bare = Notification(
        id=new_notification_id(),
        organization_id=_organization(place),
        workspace_id=place.workspace_id,
        name=_name(wanted.name),
        kind=wanted.kind,
        triggers=in_order(wanted.triggers),
        enabled=wanted.enabled,
        recipients=_once(wanted.recipients),
        created_by=actor,
        created_at=now,
        updated_at=now,
        leased_until=now,
    )
    _check_address(deps, bare, wanted.endpoint_url)
    sealed = with_url(deps.keyring, bare, wanted.endpoint_url)
    sealed = with_secret(deps.keyring, sealed, wanted.secret)
    async with deps.transactions.write() as tx:
        users = await _users(deps, tx, sealed.organization_id, wanted.users)
        made = replace(sealed, user_ids=users)
        _check(deps, made)
        if len(await deps.store.owned_by(tx, made.owner_id)) >= MOST:
            raise ConflictError(
                f"There are {MOST} notifications here already; delete one first."
            )
        await deps.store.add(tx, made)
        await _note(deps, tx, made, actor=actor, action="notification.create")
    return made


async def list_notifications(
    deps: NotificationDeps, *, place: Place
) -> list[Notification]:
    """A workspace's or an organization's own notifications, by name."""
    owner = place.workspace_id or _organization(place)
    async with deps.transactions.read() as tx:
        return await deps.store.owned_by(tx, owner)


async def get_notification(
    deps: NotificationDeps, *, notification_id: NotificationId
) -> Notification:
    """One notification.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return _known(await deps.store.get(tx, notification_id), notification_id)


async def change_notification(
    deps: NotificationDeps,
    *,
    notification_id: NotificationId,
    change: NotificationChange,
    actor: str,
) -> Notification:
    """Change a notification; one that is switched off sends nothing of what waits.

    Raises:
        NotFoundError: there is none with this id.
        InvalidInputError: it cannot be taken as it is; the detail names the field.
        ConflictError: there is another one of this name here.
    """
    async with deps.transactions.write() as tx:
        old = _known(await deps.store.hold(tx, notification_id), notification_id)
        wanted = _changed(old, change)
        _check_address(deps, wanted, change.endpoint_url)
        wanted = with_url(deps.keyring, wanted, change.endpoint_url)
        wanted = with_secret(deps.keyring, wanted, change.secret)
        if change.users is not None:
            users = await _users(deps, tx, old.organization_id, change.users)
            wanted = replace(wanted, user_ids=users)
        changed = _changed_fields(old, wanted)
        if not changed:
            return old
        _check(deps, wanted)
        now = deps.clock.now()
        notification = replace(wanted, updated_at=now)
        await deps.store.save(tx, notification)
        if old.enabled is not notification.enabled:
            why = f"the notification was switched off by {one_line(actor)}"
            await deps.outbox.stop(tx, notification_id, why=why, now=now)
        detail = {"changed": ", ".join(changed)}
        await _note(
            deps,
            tx,
            notification,
            actor=actor,
            action="notification.update",
            detail=detail,
        )
    return notification


async def delete_notification(
    deps: NotificationDeps, *, notification_id: NotificationId, actor: str
) -> None:
    """Forget a notification with its messages; what waits is not sent.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.write() as tx:
        old = _known(await deps.store.hold(tx, notification_id), notification_id)
        await deps.store.delete(tx, notification_id)
        await _note(deps, tx, old, actor=actor, action="notification.delete")


async def try_notification(
    deps: NotificationDeps, *, notification_id: NotificationId, actor: str
) -> Tried:
    """Send a message at once, only to see whether it arrives; the first failure counts.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.write() as tx:
        found = _known(await deps.store.hold(tx, notification_id), notification_id)
        await _note(deps, tx, found, actor=actor, action="notification.test")
    content = trial_content(
        found, deps.public_url, actor=one_line(actor), at=deps.clock.now()
    )
    tried = Tried(Outcome.SENT)
    for recipient in found.told[:TESTED]:
        tried = await send(
            deps, found, content, message_id=new_delivery_id(), recipient=recipient
        )
        deps.metrics.tried(found.kind, tried.outcome)
        if tried.outcome is not Outcome.SENT:
            break
    return tried


async def list_deliveries(
    deps: NotificationDeps,
    *,
    notification_id: NotificationId,
    status: DeliveryStatus | None,
    page: Page,
) -> tuple[list[Delivery], int]:
    """A notification's messages, the last first, and how many there are.

    Raises:
        NotFoundError: there is no such notification.
    """
    async with deps.transactions.read() as tx:
        _known(await deps.store.get(tx, notification_id), notification_id)
        return await deps.outbox.page(tx, notification_id, status, page)


async def redeliver(
    deps: NotificationDeps,
    *,
    notification_id: NotificationId,
    delivery_id: DeliveryId,
    actor: str,
) -> Delivery:
    """Send a message again from the first try on, under the same id.

    Raises:
        NotFoundError: there is no such notification or message.
        ConflictError: the notification is switched off, or the message waits already.
    """
    async with deps.transactions.write() as tx:
        owner = _known(await deps.store.hold(tx, notification_id), notification_id)
        found = await deps.outbox.delivery(tx, notification_id, delivery_id)
        if found is None:
            raise NotFoundError(
                f"There is no message {one_line(delivery_id)} of {notification_id}."
            )
        if not owner.enabled:
            raise ConflictError(
                f"{owner.name} is switched off and sends nothing; enable it first."
            )
        if found.status is DeliveryStatus.PENDING:
            raise ConflictError(f"{found.id} waits to be sent already.")
        again = anew(found, deps.clock.now())
        await deps.outbox.restart(tx, again)
        await _note(
            deps,
            tx,
            owner,
            actor=actor,
            action="notification.redeliver",
            detail={"delivery": found.id},
        )
    deps.hub.publish(NOTIFICATIONS)
    return again


# --- what can be taken -------------------------------------------------------


def _changed(old: Notification, change: NotificationChange) -> Notification:
    given: dict[str, Any] = {}
    if change.name is not None:
        given["name"] = _name(change.name)
    if change.triggers is not None:
        given["triggers"] = in_order(change.triggers)
    if change.enabled is not None:
        given["enabled"] = change.enabled
    if change.recipients is not None:
        given["recipients"] = _once(change.recipients)
    return replace(old, **given)


def _changed_fields(old: Notification, new: Notification) -> list[str]:
    """Names of what differs, as the API has them."""
    names = [
        field.name
        for field in fields(Notification)
        if field.name not in {_LEASE, "endpoint"}
        and getattr(old, field.name) != getattr(new, field.name)
    ]
    return [_SHOWN_AS.get(name, name) for name in names]


def _check_address(
    deps: NotificationDeps, notification: Notification, url: str | None
) -> None:
    if url is None:
        return
    if notification.kind is NotificationKind.EMAIL:
        raise InvalidInputError(
            "endpoint_url: e-mail goes to recipients and users; leave it out."
        )
    deps.endpoints.check_url(url)


def _check(deps: NotificationDeps, notification: Notification) -> None:
    kind = notification.kind
    if kind is NotificationKind.EMAIL:
        _check_mail(deps, notification)
    elif notification.sealed_url is None:
        raise InvalidInputError(f"endpoint_url: {kind} needs the URL to send to.")
    elif notification.recipients or notification.user_ids:
        raise InvalidInputError(
            f"recipients: {kind} goes to its URL alone; leave recipients and users out."
        )
    if kind is not NotificationKind.WEBHOOK and notification.sealed_secret is not None:
        raise InvalidInputError("secret: only webhooks are signed; leave it out.")


def _check_mail(deps: NotificationDeps, notification: Notification) -> None:
    if not deps.relay.sender:
        raise InvalidInputError(
            "kind: this server sends no mail; an administrator sets SLUICE_SMTP_HOST and"
            " SLUICE_SMTP_FROM."
        )
    if not notification.told:
        raise InvalidInputError("recipients: e-mail needs at least one recipient.")
    for address in notification.recipients:
        if not is_address(address):
            raise InvalidInputError(
                f"recipients: {address!r} is no e-mail address such as ops@example.com."
            )


async def _users(
    deps: NotificationDeps,
    tx: Tx,
    organization_id: OrganizationId,
    wanted: Sequence[str],
) -> tuple[UserId, ...]:
    """Ids of members, by their ids or names."""
    if not wanted:
        return ()
    members = await deps.store.members(tx, organization_id, wanted)
    known = {member.name: member.user_id for member in members}
    known |= {member.user_id: member.user_id for member in members}
    for name in wanted:
        if name not in known:
            raise InvalidInputError(
                f"users: {name!r} is no member of the organization with an e-mail address."
            )
    return tuple(dict.fromkeys(known[name] for name in wanted))


def _name(name: str) -> str:
    shown = one_line(name)
    if shown != name:
        raise InvalidInputError(
            "name: it has control characters, or blanks at an end or in a row; leave them out."
        )
    return name


def _once(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _organization(place: Place) -> OrganizationId:
    if place.organization_id is None:
        raise NotFoundError("A notification belongs to a workspace or an organization.")
    return place.organization_id


def _known(
    notification: Notification | None, notification_id: NotificationId
) -> Notification:
    if notification is None:
        raise NotFoundError(f"There is no notification {one_line(notification_id)}.")
    return notification


async def _note(
    deps: NotificationDeps,
    tx: Tx,
    notification: Notification,
    *,
    actor: str,
    action: str,
    detail: dict[str, str] | None = None,
) -> None:
    """Keep in the audit log what somebody does to a notification."""
    entry = new_entry(
        deps.clock,
        actor=actor,
        action=action,
        subject=notification.id,
        organization_id=notification.organization_id,
        detail={"name": notification.name, **(detail or {})},
    )
    await deps.audit.append(tx, entry)
