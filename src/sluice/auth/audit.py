"""The audit log: who did what to what, appended in the transaction that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sluice.base.ids import AuditEntryId, OrganizationId
from sluice.base.paging import Page
from sluice.base.transactions import Tx


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did.

    Attributes:
        actor: who, as records name callers.
        action: what, as `noun.verb`, such as ``run_task.create``.
        subject: the id of what it was done to.
        detail: what else is to be known, never a secret.
    """

    id: AuditEntryId
    at: datetime
    organization_id: OrganizationId | None
    actor: str
    action: str
    subject: str
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None and empty texts leave all.

    Attributes:
        action: how the action begins: ``run_task.`` is all that was done to definitions.
    """

    organization_id: OrganizationId | None = None
    action: str = ""
    actor: str | None = None
    subject: str | None = None


class AuditLog(Protocol):
    """Where entries go; nothing is ever changed or taken out."""

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry."""
        ...

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are."""
        ...
