"""The audit log in SQL: rows go in as links of a chain, and are never changed.

The row of `audit_head` is locked by whoever appends. That is done after all other work of
a transaction, so that its holder waits for nobody: writers stand in line, and cannot
deadlock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from sluice.auth.audit import AuditEntry, AuditFilter, Outcome
from sluice.auth.audit_calls import in_call
from sluice.auth.tables import audit_entries, audit_head
from sluice.base.ids import AuditEntryId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import SqlTx, connection_of
from sluice.wire.audit_chain import NOTHING, Link, entry_hash

_HEAD = 1
_UNSEALED = audit_entries.c.hash == ""


class SqlAuditLog:
    """`AuditLog` on SQLite and PostgreSQL."""

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry, at the end of the transaction."""
        connection = connection_of(tx)
        if not isinstance(tx, SqlTx) or not tx.writable:
            raise RuntimeError("an audit entry in a transaction that only reads")
        waiting = next((one for one in tx.last if isinstance(one, _Append)), None)
        if waiting is None:
            waiting = _Append(connection)
            tx.last.append(waiting)
        waiting.entries.append(in_call(tx, entry))

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page, *, before: int | None = None
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are."""
        wanted = list(_wanted(which))
        connection = connection_of(tx)
        number = audit_entries.c.number
        total = await connection.scalar(
            select(func.count()).select_from(audit_entries).where(*wanted)
        )
        if before is not None:
            wanted.append(number < before)
        rows = await connection.execute(
            select(audit_entries)
            .where(*wanted)
            .order_by(number.desc())
            .limit(page.limit)
            .offset(page.offset)
        )
        return [_entry(row) for row in rows], total or 0

    async def after(
        self, tx: Tx, which: AuditFilter, *, number: int, limit: int
    ) -> Sequence[AuditEntry]:
        """The first entries of larger numbers, in the order they were kept."""
        columns = audit_entries.c
        rows = await connection_of(tx).execute(
            select(audit_entries)
            .where(columns.number > number, *_wanted(which))
            .order_by(columns.number)
            .limit(limit)
        )
        return [_entry(row) for row in rows]

    async def head(self, tx: Tx) -> Link:
        """The last link of the chain."""
        return await _head(connection_of(tx)) or NOTHING

    async def take_in_older(self, tx: Tx) -> int:
        """Put what a server without a chain wrote into it; how many entries that were."""
        head = await self.head(tx)
        columns = audit_entries.c
        older = select(columns.id).where(columns.number > head.number, _UNSEALED)
        connection = connection_of(tx)
        if await connection.scalar(older.limit(1)) is None:
            return 0
        head, at_first = await _locked_head(connection)
        _, then = await _take_in(connection, head)
        return at_first + then


@dataclass(slots=True)
class _Append:
    """Appends what a transaction has to keep, right before it is committed."""

    connection: AsyncConnection
    entries: list[AuditEntry] = field(default_factory=list)

    async def __call__(self) -> None:
        head, _ = await _locked_head(self.connection)
        rows = []
        for entry in self.entries:
            link = _link(head, entry)
            rows.append(_row(link))
            head = Link(link.number, link.hash)
        one_or_more = rows if len(rows) > 1 else rows[0]
        await self.connection.execute(insert(audit_entries), one_or_more)
        await _move(self.connection, head)


def _link(head: Link, entry: AuditEntry) -> AuditEntry:
    """The entry as the one that follows ``head``."""
    placed = replace(entry, number=head.number + 1, previous_hash=head.hash)
    return replace(placed, hash=entry_hash(placed))


async def _head(
    connection: AsyncConnection, *, for_update: bool = False
) -> Link | None:
    query = select(audit_head).where(audit_head.c.id == _HEAD)
    if for_update:
        query = query.with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Link(row.number, row.hash)


async def _locked_head(connection: AsyncConnection) -> tuple[Link, int]:
    """The head, which nobody else moves before this transaction has ended.

    Where there is none yet it is made, and what was written before there was a chain is
    taken into it: the second number says how many entries.
    """
    head = await _head(connection, for_update=True)
    if head is None:
        last = await _last_sealed(connection)
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        await connection.execute(
            dialect.insert(audit_head)
            .values(id=_HEAD, number=last.number, hash=last.hash)
            .on_conflict_do_nothing()
        )
        head = await _head(connection, for_update=True) or NOTHING
    if head != NOTHING:
        return head, 0
    return await _take_in(connection, head)


async def _last_sealed(connection: AsyncConnection) -> Link:
    columns = audit_entries.c
    query = (
        select(columns.number, columns.hash)
        .where(~_UNSEALED)
        .order_by(columns.number.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return NOTHING if row is None else Link(row.number, row.hash)


async def _take_in(connection: AsyncConnection, head: Link) -> tuple[Link, int]:
    """Chain the entries that are in no chain; their numbers lie beyond the head's."""
    number = audit_entries.c.number
    query = (
        select(audit_entries).where(number > head.number, _UNSEALED).order_by(number)
    )
    older = [_entry(row) for row in await connection.execute(query)]
    for entry in older:
        link = _link(head, entry)
        await connection.execute(
            update(audit_entries)
            .where(audit_entries.c.id == entry.id)
            .values(
                number=link.number, previous_hash=link.previous_hash, hash=link.hash
            )
        )
        head = Link(link.number, link.hash)
    if older:
        await _move(connection, head)
    return head, len(older)


async def _move(connection: AsyncConnection, head: Link) -> None:
    await connection.execute(
        update(audit_head)
        .where(audit_head.c.id == _HEAD)
        .values(number=head.number, hash=head.hash)
    )


def _wanted(which: AuditFilter) -> Iterator[ColumnElement[bool]]:
    columns = audit_entries.c
    exact = {
        columns.organization_id: which.organization_id,
        columns.subject: which.subject,
        columns.outcome: which.outcome and which.outcome.value,
        columns.address: which.address,
    }
    for column, wanted in exact.items():
        if wanted is not None:
            yield column == wanted
    if which.actor is not None:
        yield or_(columns.actor == which.actor, columns.actor_id == which.actor)
    if which.action:
        # LIKE would ignore case on SQLite alone
        begins = func.substr(columns.action, 1, len(which.action))
        yield begins == which.action
    if which.since is not None:
        yield columns.at >= which.since
    if which.until is not None:
        yield columns.at < which.until


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "id": entry.id,
        "at": entry.at,
        "organization_id": entry.organization_id,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": dict(entry.detail),
        "outcome": entry.outcome.value,
        "actor_id": entry.actor_id,
        "address": entry.address,
        "request_id": entry.request_id,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=AuditEntryId(row.id),
        at=row.at,
        organization_id=row.organization_id,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        outcome=Outcome(row.outcome),
        actor_id=row.actor_id,
        address=row.address,
        request_id=row.request_id,
        number=row.number,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
