"""The audit log: who did what to what, appended in the transaction that does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sluice.base.ids import AuditEntryId, OrganizationId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.wire.audit_chain import Link


class Outcome(StrEnum):
    """Whether somebody was let do it."""

    ALLOWED = "allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did, or was not let do.

    Attributes:
        actor: who, as records name callers.
        action: what, as `noun.verb`, such as ``run_task.create``.
        subject: the id of what it was done to.
        detail: what else is to be known, never a secret.
        actor_id: who, by id; empty where nobody signed in.
        address: from where, as the server saw it; empty for what the server did itself.
        request_id: of the request that did it.
        number: its place in the chain, from 1; 0 until it is kept.
        previous_hash: of the entry before it.
        hash: of all of this (`sluice.wire.audit_chain`).
    """

    id: AuditEntryId
    at: datetime
    organization_id: OrganizationId | None
    actor: str
    action: str
    subject: str
    detail: Mapping[str, str]
    outcome: Outcome = Outcome.ALLOWED
    actor_id: str = ""
    address: str = ""
    request_id: str = ""
    number: int = field(default=0, compare=False)
    previous_hash: str = field(default="", compare=False)
    hash: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None and empty texts leave all.

    Attributes:
        action: how the action begins: ``run_task.`` is all that was done to definitions.
        actor: the name or the id of who did it.
        since: made then or later.
        until: made before that.
    """

    organization_id: OrganizationId | None = None
    action: str = ""
    actor: str | None = None
    subject: str | None = None
    outcome: Outcome | None = None
    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditLog(Protocol):
    """Where entries go; nothing is ever changed or taken out.

    Entries get their numbers and hashes at the very end of the transaction, in the order
    in which they were appended.
    """

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry, if the transaction is committed."""
        ...

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page, *, before: int | None = None
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are.

        With ``before`` only those of smaller numbers; they are all counted.
        """
        ...

    async def after(
        self, tx: Tx, which: AuditFilter, *, number: int, limit: int
    ) -> Sequence[AuditEntry]:
        """The first entries of larger numbers, in the order they were kept."""
        ...

    async def head(self, tx: Tx) -> Link:
        """The last link of the chain."""
        ...
