"""The route of the audit log; it is read here and written by what does things."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sluice.auth.actions import AuthDeps, get_organization
from sluice.auth.audit import AuditEntry, AuditFilter, AuditLog
from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.policy import Permission
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page
from sluice.wire.shapes import audit as audit_shapes

Admin = Annotated[Principal, Depends(require(Permission.ADMIN))]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Word = Annotated[str | None, Query(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class AuditDeps:
    """What reading the audit log needs."""

    auth: AuthDeps
    log: AuditLog


def build_router(deps: AuditDeps) -> APIRouter:
    """The route under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["who"])

    @router.get("/audit")
    async def list_audit_entries(
        which: Annotated[AuditFilter, Depends(_Wanted(deps))],
        _: Admin,
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> audit_shapes.AuditEntryList:
        """Who did what to what, the last first.

        ``organization_id`` may be an organization's name, too. ``action`` is how actions
        begin: ``run_task.`` gives all that was done to definitions of run tasks.
        """
        page = Page(limit, offset)
        async with deps.auth.transactions.read() as tx:
            found, total = await deps.log.page(tx, which, page)
        return audit_shapes.AuditEntryList(
            entries=[_shown(entry) for entry in found],
            total=total,
            limit=page.limit,
            offset=page.offset,
        )

    return router


class _Wanted:
    """A FastAPI dependency: the filter that a request's query means."""

    def __init__(self, deps: AuditDeps) -> None:
        self._deps = deps

    async def __call__(
        self,
        _: Admin,
        organization_id: Word = None,
        action: Word = None,
        actor: Word = None,
        subject: Word = None,
    ) -> AuditFilter:
        """Read the query; an organization that is not there is refused."""
        owner = None
        if organization_id is not None:
            found = await get_organization(self._deps.auth, id_or_name=organization_id)
            owner = found.id
        return AuditFilter(
            organization_id=owner, action=action or "", actor=actor, subject=subject
        )


def _shown(entry: AuditEntry) -> audit_shapes.AuditEntry:
    return audit_shapes.AuditEntry(
        id=entry.id,
        at=entry.at,
        organization_id=entry.organization_id,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        detail=dict(entry.detail),
    )
