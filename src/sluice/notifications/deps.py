"""What notifications work with, put together once by the composition root."""

from dataclasses import dataclass

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditLog
from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.transactions import Transactions
from sluice.events.hub import Hub
from sluice.notifications.metrics import NotificationMetrics
from sluice.notifications.ports import (
    Endpoints,
    MailRelay,
    NotificationStore,
    Outbox,
    Workspaces,
)

AT_ONCE = 20
KEEP_DAYS = 30


@dataclass(frozen=True, slots=True)
class NotificationDeps:
    """Stores, neighbours, ways out and limits.

    Attributes:
        endpoints: the way out to addresses that users typed.
        relay: the mail server.
        public_url: the server's address as people reach it, without a slash at its end.
        at_once: so many messages are sent at the same time.
        keep_days: messages are forgotten so many days after they were made.
    """

    transactions: Transactions
    store: NotificationStore
    outbox: Outbox
    workspaces: Workspaces
    auth: AuthDeps
    audit: AuditLog
    endpoints: Endpoints
    relay: MailRelay
    keyring: KeyRing
    clock: Clock
    hub: Hub
    metrics: NotificationMetrics
    public_url: str
    at_once: int = AT_ONCE
    keep_days: int = KEEP_DAYS
