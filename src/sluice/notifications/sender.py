"""Makes one try: writes the message as its kind wants it, sends it, judges the answer."""

from collections.abc import Mapping
from typing import Any

from sluice import __version__
from sluice.base.errors import SluiceError
from sluice.base.ids import OrganizationId, UserId
from sluice.base.transactions import Tx
from sluice.edge.outgoing import OutgoingRefusedError
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.mail import is_address, mail_of
from sluice.notifications.model import Notification
from sluice.notifications.schedule import SEND_SECONDS, Outcome, Tried, judge_http
from sluice.notifications.sealing import secret_of, url_of
from sluice.notifications.slack import slack_message
from sluice.wire.notification import NotificationKind
from sluice.wire.webhooks import (
    WEBHOOK_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    encode_payload,
    sign_webhook,
)

USER_AGENT = f"sluice/{__version__}"


async def send(
    deps: NotificationDeps,
    notification: Notification,
    content: Mapping[str, Any],
    *,
    message_id: str,
    recipient: str,
) -> Tried:
    """Send ``content`` once, under the id that names the message at each try."""
    if notification.kind is NotificationKind.EMAIL:
        return await _mail(
            deps, notification, content, message_id=message_id, recipient=recipient
        )
    try:
        return await _post(deps, notification, content, message_id)
    except OutgoingRefusedError as error:
        return Tried(Outcome.REFUSED, None, error.detail)
    except SluiceError as error:
        return Tried(Outcome.FAILED, None, error.detail)


async def _post(
    deps: NotificationDeps,
    notification: Notification,
    content: Mapping[str, Any],
    message_id: str,
) -> Tried:
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    if notification.kind is NotificationKind.SLACK:
        body = encode_payload(slack_message(content))
    else:
        body = encode_payload(content)
        headers |= _signed(deps, notification, body, message_id)
    status = await deps.endpoints.post(
        url_of(deps.keyring, notification),
        body=body,
        headers=headers,
        timeout=SEND_SECONDS,
    )
    return judge_http(status)


def _signed(
    deps: NotificationDeps, notification: Notification, body: bytes, message_id: str
) -> dict[str, str]:
    timestamp = int(deps.clock.now().timestamp())
    headers = {WEBHOOK_ID_HEADER: message_id, WEBHOOK_TIMESTAMP_HEADER: str(timestamp)}
    secret = secret_of(deps.keyring, notification)
    if secret:
        signature = sign_webhook(secret, message_id, timestamp, body)
        headers[WEBHOOK_SIGNATURE_HEADER] = signature
    return headers


async def _mail(
    deps: NotificationDeps,
    notification: Notification,
    content: Mapping[str, Any],
    *,
    message_id: str,
    recipient: str,
) -> Tried:
    if not deps.relay.sender:
        why = "this server sends no mail; set SLUICE_SMTP_HOST and SLUICE_SMTP_FROM"
        return Tried(Outcome.FAILED, None, why)
    address = recipient
    if "@" not in recipient:
        async with deps.transactions.read() as tx:
            owner = notification.organization_id
            address = await _address(deps, tx, owner, UserId(recipient))
    if not is_address(address):
        why = (
            f"{recipient} has no e-mail address, is disabled, or is no member any more"
        )
        return Tried(Outcome.REFUSED, None, why)
    mail = mail_of(
        content,
        message_id=message_id,
        sender=deps.relay.sender,
        recipient=address,
        at=deps.clock.now(),
    )
    return await deps.relay.send(mail, recipient=address)


async def _address(
    deps: NotificationDeps, tx: Tx, organization_id: OrganizationId, user_id: UserId
) -> str:
    found = await deps.store.members(tx, organization_id, [user_id])
    return next((one.address for one in found if one.user_id == user_id), "")
