"""The routes of the audit log; it is read here and written by what does things."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from sluice.auth.actions import AuthDeps, get_organization
from sluice.auth.audit import AuditEntry, AuditFilter, AuditLog, Outcome
from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.auth.policy import granted
from sluice.base.errors import ForbiddenError, InvalidInputError
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page
from sluice.wire.shapes import audit as audit_shapes
from sluice.wire.shapes.base import written_time

JSON_LINES = "application/jsonl"
EXPORTED_AT_ONCE = 500
Admin = Annotated[Principal, Depends(require(Permission.ADMIN))]
Reader = Annotated[Principal, Depends(require(Permission.READ_AUDIT))]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Before = Annotated[int | None, Query(ge=1, le=MAX_OFFSET)]
After = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Word = Annotated[str | None, Query(min_length=1, max_length=200)]
Written = BeforeValidator(written_time)
From = Annotated[datetime | None, Written, Query(alias="from")]
To = Annotated[datetime | None, Written, Query(alias="to")]


@dataclass(frozen=True, slots=True)
class AuditDeps:
    """What reading the audit log needs."""

    auth: AuthDeps
    log: AuditLog


@dataclass(frozen=True, slots=True)
class _Words:
    """The texts of a query that say which entries are wanted."""

    organization_id: Word = None
    action: Word = None
    actor: Word = None
    subject: Word = None
    outcome: Outcome | None = None
    address: Word = None


def build_router(deps: AuditDeps) -> APIRouter:
    """The routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["who"])

    @router.get("/audit")
    async def list_audit_entries(
        which: Annotated[AuditFilter, Depends(_Wanted(deps))],
        limit: Limit = 20,
        offset: Offset = 0,
        before: Before = None,
    ) -> audit_shapes.AuditEntryList:
        """Who did what to what, from where, allowed and denied; the last first.

        ``organization_id`` may be an organization's name, too; who reads the log of one
        organization has to give it. ``action`` is how actions begin: ``run_task.`` gives
        all that was done to definitions of run tasks. ``actor`` is a name or an id.
        ``from`` and ``to`` are times; the second is no longer included. Give the ``next``
        of one answer as ``before`` for the entries that follow.
        """
        page = Page(limit, offset)
        async with deps.auth.transactions.read() as tx:
            found, total = await deps.log.page(tx, which, page, before=before)
        return audit_shapes.AuditEntryList(
            entries=[_shown(entry) for entry in found],
            total=total,
            limit=page.limit,
            offset=page.offset,
            next=found[-1].number if len(found) == page.limit else None,
        )

    @router.get("/audit/head")
    async def get_audit_head(_: Admin) -> audit_shapes.AuditHead:
        """The last link of the chain, to be noted where this server cannot reach."""
        async with deps.auth.transactions.read() as tx:
            head = await deps.log.head(tx)
        return audit_shapes.AuditHead(number=head.number, hash=head.hash)

    @router.get(
        "/audit/export",
        response_class=StreamingResponse,
        responses={200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
    )
    async def export_audit_entries(
        which: Annotated[AuditFilter, Depends(_Wanted(deps))], after: After = 0
    ) -> StreamingResponse:
        """Entries as JSON lines, the first first, filtered as lists of them are.

        ``after`` is the number of the last entry that is there already.
        """
        return StreamingResponse(
            _lines(deps, which, after),
            media_type=JSON_LINES,
            headers={"cache-control": "no-store"},
        )

    return router


class _Wanted:
    """A FastAPI dependency: the filter that a request's query means."""

    def __init__(self, deps: AuditDeps) -> None:
        self._deps = deps

    async def __call__(
        self,
        reader: Reader,
        words: Annotated[_Words, Depends()],
        since: From = None,
        until: To = None,
    ) -> AuditFilter:
        """Read the query; an organization that is not there is refused."""
        owner = None
        if words.organization_id is None:
            _check_everywhere(reader)
        if words.organization_id is not None:
            found = await get_organization(
                self._deps.auth, id_or_name=words.organization_id
            )
            owner = found.id
        return AuditFilter(
            organization_id=owner,
            action=words.action or "",
            actor=words.actor,
            subject=words.subject,
            outcome=words.outcome,
            address=words.address,
            since=_aware(since),
            until=_aware(until),
        )


async def _lines(
    deps: AuditDeps, which: AuditFilter, after: int
) -> AsyncIterator[bytes]:
    """Some entries at a time, each in a transaction of its own, however long it takes."""
    while True:
        async with deps.auth.transactions.read() as tx:
            found = await deps.log.after(
                tx, which, number=after, limit=EXPORTED_AT_ONCE
            )
        if not found:
            return
        yield "".join(
            f"{_shown(entry).model_dump_json()}\n" for entry in found
        ).encode()
        after = found[-1].number


def _check_everywhere(reader: Principal) -> None:
    """Refuse who may read the log of one organization alone, and names none."""
    if Permission.ADMIN not in granted(reader):
        raise ForbiddenError(
            f"{reader.actor} may not read the log of all organizations; name one with "
            "organization_id."
        )


def _aware(time: datetime | None) -> datetime | None:
    """A time without a zone is taken for one in UTC."""
    if time is None:
        return None
    try:
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(f"{time} is not a time that can be compared.") from None


def _shown(entry: AuditEntry) -> audit_shapes.AuditEntry:
    return audit_shapes.AuditEntry(
        number=entry.number,
        id=entry.id,
        at=entry.at,
        organization_id=entry.organization_id,
        actor=entry.actor,
        actor_id=entry.actor_id,
        action=entry.action,
        subject=entry.subject,
        detail=dict(entry.detail),
        outcome=entry.outcome.value,
        address=entry.address,
        request_id=entry.request_id,
        previous_hash=entry.previous_hash,
        hash=entry.hash,
    )
