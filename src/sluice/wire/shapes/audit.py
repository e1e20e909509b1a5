"""The audit log: who did what to what, from where, allowed and denied."""

from datetime import datetime
from typing import Literal

from sluice.wire.shapes.base import Resource


class AuditEntry(Resource):
    """One thing that somebody did, or was not let do.

    ``number``, ``previous_hash`` and ``hash`` are its place in the chain of all entries
    (`sluice.wire.audit_chain`); 0 and empty texts in what an older server wrote and no
    newer one has put into the chain yet.
    """

    number: int = 0
    id: str
    at: datetime
    organization_id: str | None
    actor: str
    actor_id: str = ""
    action: str
    subject: str
    detail: dict[str, str]
    outcome: Literal["allowed", "denied"] = "allowed"
    address: str = ""
    request_id: str = ""
    previous_hash: str = ""
    hash: str = ""


class AuditEntryList(Resource):
    """A page of the audit log, the last entry first.

    ``next`` is what to give as ``before`` for the entries that come after these on the
    page; null where there are none.
    """

    entries: list[AuditEntry]
    total: int
    limit: int
    offset: int
    next: int | None = None


class AuditHead(Resource):
    """The last link of the chain; 0 and an empty hash before the first."""

    number: int
    hash: str
