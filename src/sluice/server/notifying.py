"""Joins notifications: what writes messages down, and what sends them."""

from sluice.auth.actions import AuthDeps
from sluice.auth.audit import AuditLog
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.metrics import NotificationMetrics
from sluice.notifications.ports import Organizations, Workspaces
from sluice.notifications.recorder import NotificationRecorder
from sluice.notifications.relay import SmtpRelay, SmtpSettings
from sluice.notifications.store import SqlNotificationStore, SqlOutbox
from sluice.server.parts import Parts
from sluice.server.settings import ServerSettings


def notification_recorder(
    parts: Parts, workspaces: Workspaces, organizations: Organizations
) -> NotificationRecorder:
    """What watches tasks."""
    return NotificationRecorder(
        SqlOutbox(),
        workspaces,
        organizations,
        parts.clock,
        parts.settings.resolved_public_url,
    )


def notification_deps(
    parts: Parts, auth: AuthDeps, workspaces: Workspaces, audit: AuditLog
) -> NotificationDeps:
    """What routes and the loop need."""
    settings = parts.settings
    return NotificationDeps(
        transactions=parts.database,
        store=SqlNotificationStore(),
        outbox=SqlOutbox(),
        workspaces=workspaces,
        auth=auth,
        audit=audit,
        endpoints=parts.outgoing,
        relay=SmtpRelay(_smtp(settings)),
        keyring=parts.keyring,
        clock=parts.clock,
        hub=parts.hub,
        metrics=NotificationMetrics(parts.registry),
        public_url=settings.resolved_public_url,
        at_once=settings.notifications_at_once,
        keep_days=settings.notification_days,
    )


def _smtp(settings: ServerSettings) -> SmtpSettings:
    return SmtpSettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        tls=settings.smtp_tls,
        sender=settings.smtp_from,
    )
