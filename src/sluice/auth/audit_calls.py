"""The request that is being served, as the audit log sees it: from where, by whom, what.

A request that may be audited has a `Draft` from the moment its caller is let in. The
first write transaction that its own asyncio task commits carries the entry. Tasks that it
starts see the call, too, so that what they append says from where; they never carry it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from sluice.auth.audit import AuditEntry
from sluice.base.ids import OrganizationId
from sluice.base.transactions import Tx


@dataclass(slots=True)
class Draft:
    """What the entry of a request will say, as far as is known.

    Attributes:
        carrier: the open transaction in which an entry of the request stands.
        written: whether that was committed.
    """

    actor: str
    actor_id: str
    action: str
    subject: str
    organization_id: OrganizationId | None
    detail: dict[str, str] = field(default_factory=dict)
    carrier: Tx | None = None
    written: bool = False


@dataclass(slots=True)
class Call:
    """One request or WebSocket while it is served.

    Attributes:
        closed: whether it was answered; nothing is written for it any more.
        aside: whether what is committed now is not yet what was asked for.
        refusal: what the route was last said to have refused, and why.
    """

    address: str
    request_id: str
    task: asyncio.Task[Any] | None
    draft: Draft | None = None
    closed: bool = False
    aside: bool = False
    refusal: dict[str, str] = field(default_factory=dict)

    def pending(self) -> Draft | None:
        """The draft, if it is still to be written."""
        if self.closed or self.draft is None or self.draft.written:
            return None
        return self.draft


_current: ContextVar[Call | None] = ContextVar("sluice_audit_call", default=None)


def begin_call(address: str, request_id: str) -> Call:
    """The call that this asyncio task serves from now on."""
    call = Call(address, request_id, asyncio.current_task())
    _current.set(call)
    return call


def current_call() -> Call | None:
    """The call that this code runs for; None outside of one, and after its answer."""
    call = _current.get()
    return None if call is None or call.closed else call


def own_call() -> Call | None:
    """As `current_call`, and only in the asyncio task that serves it."""
    call = current_call()
    return call if call and call.task is asyncio.current_task() else None


def about(
    subject: str,
    *,
    organization_id: OrganizationId | None = None,
    **detail: str,
) -> None:
    """Say what the request at hand does something to, where its address does not.

    What makes a new thing calls this before it is committed, with its id. Without a
    request nothing happens.
    """
    call = own_call()
    draft = call.pending() if call else None
    if draft is None:
        return
    draft.subject = subject
    draft.organization_id = organization_id or draft.organization_id
    draft.detail.update(detail)


def introduce(actor: str, *, actor_id: str, action: str, subject: str) -> None:
    """Say who does what by the request at hand, where no guard has told who is calling."""
    call = own_call()
    if call is not None and call.draft is None:
        call.draft = Draft(actor, actor_id, action, subject, None)


def refused(permission: str, reason: str) -> None:
    """Say which permission the caller of the request at hand lacks, past its guard.

    It is told only if the answer is a refusal.
    """
    call = own_call()
    if call is not None:
        call.refusal = {"permission": permission, "reason": reason}


@contextmanager
def aside() -> Iterator[None]:
    """Transactions in this block do not carry the entry of the request at hand.

    For a first look in a transaction that writes nothing, while what was asked for comes
    in a later one.
    """
    call = own_call()
    if call is None:
        yield
        return
    before, call.aside = call.aside, True
    try:
        yield
    finally:
        call.aside = before


def in_call(tx: Tx, entry: AuditEntry) -> AuditEntry:
    """An entry that is being appended, with what is known of the request it is made in.

    It takes the place of the entry that would be made for the request as a whole.
    """
    call = current_call()
    if call is None:
        return entry
    draft = call.draft
    actor_id = entry.actor_id
    if draft is not None:
        draft.carrier = draft.carrier if draft.written else tx
        if not actor_id and draft.actor == entry.actor:
            actor_id = draft.actor_id
    detail = dict(entry.detail)
    if draft is not None:
        detail = {**_way_in(draft), **detail}
    return replace(
        entry,
        detail=detail,
        actor_id=actor_id,
        address=entry.address or call.address,
        request_id=entry.request_id or call.request_id,
    )


def _way_in(draft: Draft) -> dict[str, str]:
    """By which credential and route somebody came."""
    return {
        name: text
        for name, text in draft.detail.items()
        if name in {"credential_id", "route"}
    }
