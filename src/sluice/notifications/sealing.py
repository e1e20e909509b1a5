"""How a notification's URL and secret are kept: sealed, bound to it, and never shown again."""

from dataclasses import replace
from urllib.parse import urlsplit

from sluice.auth.keyring import KeyRing
from sluice.notifications.model import Notification


def with_url(
    keyring: KeyRing, notification: Notification, url: str | None
) -> Notification:
    """The notification with this URL; None keeps the one it has."""
    if url is None:
        return notification
    parts = urlsplit(url)
    return replace(
        notification,
        endpoint=f"{parts.scheme}://{parts.netloc}",
        sealed_url=keyring.seal(url.encode(), f"notification-url:{notification.id}"),
    )


def with_secret(
    keyring: KeyRing, notification: Notification, secret: str | None
) -> Notification:
    """The notification with this secret; None keeps its own, an empty one takes it away."""
    if secret is None:
        return notification
    if not secret:
        return replace(notification, sealed_secret=None)
    name = f"notification-secret:{notification.id}"
    return replace(notification, sealed_secret=keyring.seal(secret.encode(), name))


def url_of(keyring: KeyRing, notification: Notification) -> str:
    """The URL in the clear; empty for e-mail.

    Raises:
        UnsealError: it cannot be opened.
    """
    if notification.sealed_url is None:
        return ""
    name = f"notification-url:{notification.id}"
    return keyring.open(notification.sealed_url, name).decode()


def secret_of(keyring: KeyRing, notification: Notification) -> str:
    """The secret in the clear; empty where webhooks are not signed.

    Raises:
        UnsealError: it cannot be opened.
    """
    if notification.sealed_secret is None:
        return ""
    name = f"notification-secret:{notification.id}"
    return keyring.open(notification.sealed_secret, name).decode()
