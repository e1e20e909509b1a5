"""What is counted of messages."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from sluice.notifications.model import Backlog
from sluice.notifications.schedule import Outcome
from sluice.wire.notification import NotificationKind


class NotificationMetrics:
    """Counters of one server; what waits is that of the whole database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tries = Counter(
            "sluice_notification_tries_total",
            "Tries to send messages: taken, refused for good, or failed and perhaps made again.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._given_up = Counter(
            "sluice_notifications_given_up_total",
            "Messages that nobody took, and that are not tried again.",
            ["kind"],
            registry=registry,
        )
        self._pending = Gauge(
            "sluice_notifications_pending",
            "Messages that wait to be sent.",
            registry=registry,
        )
        self._oldest = Gauge(
            "sluice_notification_oldest_seconds",
            "Age of the oldest message that waits to be sent; 0 where none does.",
            registry=registry,
        )
        for kind in NotificationKind:
            self._given_up.labels(kind.value)
            for outcome in Outcome:
                self._tries.labels(kind.value, outcome.value)

    def tried(self, kind: NotificationKind, outcome: Outcome) -> None:
        """A try came to its end."""
        self._tries.labels(kind.value, outcome.value).inc()

    def given_up(self, kind: NotificationKind) -> None:
        """A message failed for good."""
        self._given_up.labels(kind.value).inc()

    def waiting(self, backlog: Backlog, now: datetime) -> None:
        """So much waits now."""
        self._pending.set(backlog.pending)
        since = backlog.oldest or now
        self._oldest.set(max(0.0, (now - since).total_seconds()))
