"""The audit log: who did what to what."""

from datetime import datetime

from sluice.wire.shapes.base import Resource


class AuditEntry(Resource):
    """One thing that somebody did; ``organization_id`` is null for the whole installation."""

    id: str
    at: datetime
    organization_id: str | None
    actor: str
    action: str
    subject: str
    detail: dict[str, str]


class AuditEntryList(Resource):
    """A page of the audit log, the last entry first."""

    entries: list[AuditEntry]
    total: int
    limit: int
    offset: int
