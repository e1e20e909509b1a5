"""The audit log in SQL: rows go in and are never changed."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select

from sluice.auth.audit import AuditEntry, AuditFilter
from sluice.auth.tables import audit_entries
from sluice.base.ids import AuditEntryId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlAuditLog:
    """`AuditLog` on SQLite and PostgreSQL."""

    async def append(self, tx: Tx, entry: AuditEntry) -> None:
        """Keep an entry."""
        statement = insert(audit_entries).values(
            id=entry.id,
            at=entry.at,
            organization_id=entry.organization_id,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            detail=dict(entry.detail),
        )
        await connection_of(tx).execute(statement)

    async def page(
        self, tx: Tx, which: AuditFilter, page: Page
    ) -> tuple[list[AuditEntry], int]:
        """Entries in the order they were kept, the last first, and how many there are."""
        wanted = list(_wanted(which))
        connection = connection_of(tx)
        total = await connection.scalar(
            select(func.count()).select_from(audit_entries).where(*wanted)
        )
        rows = await connection.execute(
            select(audit_entries)
            .where(*wanted)
            .order_by(audit_entries.c.number.desc())
            .limit(page.limit)
            .offset(page.offset)
        )
        return [_entry(row) for row in rows], total or 0


def _wanted(which: AuditFilter) -> Iterator[ColumnElement[bool]]:
    columns = audit_entries.c
    if which.organization_id is not None:
        yield columns.organization_id == which.organization_id
    if which.action:
        # LIKE would ignore case on SQLite alone
        begins = func.substr(columns.action, 1, len(which.action))
        yield begins == which.action
    if which.actor is not None:
        yield columns.actor == which.actor
    if which.subject is not None:
        yield columns.subject == which.subject


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=AuditEntryId(row.id),
        at=row.at,
        organization_id=row.organization_id,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
    )
