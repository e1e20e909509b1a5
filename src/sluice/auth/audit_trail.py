"""Keeps what callers do in the audit log: one entry a request, in what the request writes."""

from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.auth.audit import AuditEntry, AuditLog, Outcome
from sluice.auth.audit_calls import Call, Draft, begin_call, current_call, own_call
from sluice.auth.audit_entries import new_entry
from sluice.auth.audit_names import action_of, is_audited
from sluice.auth.denials import Denials
from sluice.auth.model import (
    SITE,
    UNLIMITED,
    AgentPrincipal,
    Place,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    UserPrincipal,
)
from sluice.auth.permissions import Permission
from sluice.base.clock import Clock
from sluice.base.errors import (
    ForbiddenError,
    NotFoundError,
    SluiceError,
    UnavailableError,
)
from sluice.base.transactions import Transactions, Tx
from sluice.edge.problems import problem_of

_ORGANIZATION = frozenset({"organization", "id_or_name", "organization_id"})
_FORBIDDEN = 403
_FIRST_REFUSAL = 400
_logger = structlog.get_logger(__name__)


class AuditTrail:
    """`Trail` that writes entries, and the `CommitWatch` that puts them where they belong.

    The first write transaction that a request commits carries its entry; where it commits
    none, `answer` writes the entry before the answer leaves.
    """

    def __init__(self, log: AuditLog, transactions: Transactions, clock: Clock) -> None:
        self._log = log
        self._transactions = transactions
        self._clock = clock
        self._denials = Denials()

    def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        place: Place,
    ) -> None:
        """The caller was let in; what the request writes is done by them."""
        call = own_call()
        if call is None or not _is_kept(connection, principal, permission):
            return
        if call.draft is None or not call.draft.written:
            call.draft = _draft(connection, principal, place)

    async def denied(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        error: SluiceError,
        *,
        place: Place = SITE,
    ) -> None:
        """The caller was known and not let in."""
        call = own_call()
        if (
            call is None
            or not _is_denial(principal, error)
            or not _is_kept(connection, principal, permission)
        ):
            return
        draft = _draft(connection, principal, place)
        draft.detail |= {"permission": permission.value, "reason": error.detail}
        await self._deny(call, draft)

    async def before_commit(self, tx: Tx) -> None:
        """Put the entry of the request at hand into the transaction, if it has none yet."""
        call = own_call()
        draft = call.pending() if call and not call.aside else None
        if call is not None and draft is not None and draft.carrier is not tx:
            await self._log.append(tx, self._entry(call, draft))

    def committed(self, tx: Tx) -> None:
        """Remember that the request's entry is kept."""
        call = current_call()
        if call is not None and call.draft is not None and call.draft.carrier is tx:
            call.draft.written = True

    async def answer(self, call: Call, status: int) -> None:
        """Write what is still to be written of a request that is about to be answered."""
        draft = call.pending()
        call.closed = True
        if draft is None:
            return
        if status < _FIRST_REFUSAL:
            async with self._transactions.write() as tx:
                await self._log.append(tx, self._entry(call, draft))
        elif status == _FORBIDDEN:
            draft.detail |= call.refusal or {"reason": "The route refused it."}
            await self._deny(call, draft)

    async def _deny(self, call: Call, draft: Draft) -> None:
        swallowed = self._denials.admit(
            draft.actor_id, draft.action, draft.subject, now=self._clock.monotonic()
        )
        if swallowed is None:
            return
        if swallowed:
            draft.detail["refused_before_unlisted"] = str(swallowed)
        entry = replace(self._entry(call, draft), outcome=Outcome.DENIED)
        async with self._transactions.write() as tx:
            await self._log.append(tx, entry)

    def _entry(self, call: Call, draft: Draft) -> AuditEntry:
        entry = new_entry(
            self._clock,
            actor=draft.actor,
            action=draft.action,
            subject=draft.subject,
            organization_id=draft.organization_id,
            detail=draft.detail,
        )
        return replace(
            entry,
            actor_id=draft.actor_id,
            address=call.address,
            request_id=call.request_id,
        )


class NotKeptError(Exception):
    """The audit log could not be written, so the answer must not leave."""


class RecordCalls:
    """Tells an `AuditTrail` of every request's begin and answer.

    Args:
        app: the routes.
        trail: where entries are made.
    """

    def __init__(self, app: ASGIApp, trail: AuditTrail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        call = begin_call(_address(scope), str(request_id))

        async def recorded(message: Message) -> None:
            status = _status(message)
            if status is not None and not call.closed:
                try:
                    await self._trail.answer(call, status)
                except Exception as error:
                    raise NotKeptError from error
            await send(message)

        try:
            await self._app(scope, receive, recorded)
        except NotKeptError:
            _logger.exception("no audit entry, so no answer")
            refusal = UnavailableError(
                "The database does not answer, so what you did or asked for cannot be put "
                "into the audit log; try again."
            )
            await problem_of(refusal)(scope, receive, send)
        finally:
            call.closed = True


def _status(message: Message) -> int | None:
    """The status that a message answers a request with, if it does that."""
    match message["type"]:
        case "http.response.start" | "websocket.http.response.start":
            return int(message["status"])
        case "websocket.accept":
            return 101
        case _:
            return None


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _draft(connection: HTTPConnection, principal: Principal, place: Place) -> Draft:
    endpoint = connection.scope.get("endpoint")
    name = getattr(endpoint, "__name__", type(endpoint).__name__)
    subject, detail = _named(connection.path_params, place)
    actor_id, credential = _identity(principal)
    if credential:
        detail["credential_id"] = credential
    detail["route"] = _route(connection.scope)
    return Draft(
        actor=principal.actor,
        actor_id=actor_id,
        action=action_of(name),
        subject=subject,
        organization_id=place.organization_id,
        detail=detail,
    )


def _named(params: Mapping[str, object], place: Place) -> tuple[str, dict[str, str]]:
    """What a path is about: the last thing it names; and the other things in it."""
    named = {name: str(value) for name, value in params.items()}
    for name in _ORGANIZATION & named.keys():
        if place.organization_id is not None:
            named[name] = place.organization_id
    if not named:
        return place.workspace_id or place.organization_id or "", {}
    subject = named.pop(list(named)[-1])
    detail = {name: value for name, value in named.items() if name not in _ORGANIZATION}
    if place.workspace_id not in {None, subject}:
        detail["workspace_id"] = str(place.workspace_id)
    return subject, detail


def _is_kept(
    connection: HTTPConnection, principal: Principal, permission: Permission
) -> bool:
    by_user = isinstance(principal, UserPrincipal)
    return is_audited(connection.scope.get("method"), permission, by_user=by_user)


def _is_denial(principal: Principal, error: SluiceError) -> bool:
    """Whether somebody was kept from what may be there.

    Nothing is hidden from an administrator: what they do not find is not there.
    """
    if isinstance(error, NotFoundError) and isinstance(principal, UserPrincipal):
        return not (principal.admin and principal.scope == UNLIMITED)
    return isinstance(error, ForbiddenError | NotFoundError)


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", scope["path"])
    return f"{scope.get('method', 'WebSocket')} {path}"


def _identity(principal: Principal) -> tuple[str, str]:
    """The ids of a caller and of the credential that it came with."""
    match principal:
        case UserPrincipal():
            return principal.user_id, principal.credential_id or ""
        case PoolPrincipal():
            return principal.pool_id, principal.token_id
        case AgentPrincipal():
            return principal.agent_id, ""
        case TaskPrincipal():
            return principal.task_id, ""
        case ResultPrincipal():
            return principal.result_id, ""
