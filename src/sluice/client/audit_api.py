"""The route of the audit log, for administrators."""

from sluice.client.answers import one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.audit import AuditEntryList


class AuditApi:
    """Who did what to what."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        organization_id: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        subject: str | None = None,
        limit: int = 20,
    ) -> AuditEntryList:
        """Entries of the audit log, the last first; ``action`` is how actions begin."""
        params = {
            "organization_id": organization_id,
            "action": action,
            "actor": actor,
            "subject": subject,
            "limit": limit,
        }
        return one(
            AuditEntryList,
            self._transport.send("GET", api_path("audit"), params=params),
        )
