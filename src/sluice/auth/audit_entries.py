"""Makes entries of the audit log: their ids, their times, and texts that can be kept."""

from collections.abc import Mapping

from sluice.auth.audit import AuditEntry
from sluice.base.clock import Clock
from sluice.base.ids import OrganizationId, new_audit_entry_id
from sluice.wire.texts import storable

DETAIL_LENGTH = 2000
"""Longest text of one detail; the audit log keeps no documents."""
TEXT_LENGTH = 500
"""Longest text of any other field: names and ids are shorter, what is asked for may not be."""


def new_entry(
    clock: Clock,
    *,
    actor: str,
    action: str,
    subject: str,
    organization_id: OrganizationId | None = None,
    detail: Mapping[str, str] | None = None,
) -> AuditEntry:
    """An entry for something done now; `AuditLog.append` keeps it.

    The log finds out itself from where it was done, and by which request.

    Args:
        clock: tells when.
        actor: who, as `Principal.actor` names the caller.
        action: what, as ``noun.verb``, such as ``run_task.create``.
        subject: the id of what it was done to.
        organization_id: whose it is; None for the installation as a whole.
        detail: what else is to be known, never a secret; long texts are cut.
    """
    return AuditEntry(
        id=new_audit_entry_id(),
        at=clock.now(),
        organization_id=organization_id,
        actor=_kept(actor, TEXT_LENGTH),
        action=action,
        subject=_kept(subject, TEXT_LENGTH),
        detail={
            name: _kept(text, DETAIL_LENGTH) for name, text in (detail or {}).items()
        },
    )


def _kept(text: str, length: int) -> str:
    text = storable(text)
    return text if len(text) <= length else text[: length - 1] + "…"
