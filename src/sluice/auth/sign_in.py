"""What can be done to sign in and out: passwords, sessions of pages, and tickets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sluice.auth.actions import AuthDeps, IssuedToken, allowed_days
from sluice.auth.audit import AuditLog, Outcome
from sluice.auth.audit_calls import introduce
from sluice.auth.audit_entries import new_entry
from sluice.auth.authenticator import SESSION_IDLE
from sluice.auth.model import (
    StoredToken,
    TokenKind,
    User,
    UserPrincipal,
)
from sluice.auth.passwords import Passwords, check_password
from sluice.auth.sign_in_ports import SignInStore
from sluice.auth.sign_in_throttle import SignInThrottle
from sluice.auth.tokens import hash_secret, new_secret
from sluice.base.errors import (
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
)
from sluice.base.ids import TokenId, UserId, new_token_id
from sluice.base.transactions import Tx

TICKET_SECONDS = 30
LONGEST_NAME = 100
_NOBODY = "(nobody)"


@dataclass(frozen=True, slots=True)
class SignInRules:
    """How people may sign in here, and for how long.

    Attributes:
        passwords: whether names and passwords sign anybody in.
        session: a page's session ends so long after it was opened.
        idle: and after so long without a request.
    """

    passwords: bool = True
    session: timedelta = timedelta(hours=24)
    idle: timedelta = SESSION_IDLE


@dataclass(frozen=True, slots=True)
class SignInDeps:
    """What the actions need; ``changed`` is called when a credential has ended."""

    auth: AuthDeps
    store: SignInStore
    audit: AuditLog
    passwords: Passwords
    throttle: SignInThrottle
    rules: SignInRules = SignInRules()
    changed: Callable[[], None] = lambda: None


# --- in -------------------------------------------------------------------------


async def check_sign_in(
    deps: SignInDeps, *, name: str, password: str, address: str
) -> User:
    """The user who has this name or e-mail address, and this password.

    Raises:
        UnauthorizedError: they do not fit together; nothing says which of them is wrong.
        RateLimitedError: too many tries, or too many at once.
        ForbiddenError: passwords sign nobody in here.
    """
    if not deps.rules.passwords:
        raise ForbiddenError(
            "Signing in by password is switched off here (password_login); use single"
            " sign-on or an API token."
        )
    name = name.strip()
    deps.throttle.attempt(name, address)
    async with deps.auth.transactions.read() as tx:
        user = await _find(deps, tx, name)
        stored = None if user is None else await deps.store.password_of(tx, user.id)
    verdict = await deps.passwords.verify(stored, password)
    if user is None or not verdict.fits or user.disabled_at is not None:
        await note_refusal(deps, user=user, name=name, address=address, by="password")
        raise UnauthorizedError(
            "The name and the password do not fit together; try again, or ask an"
            " administrator for a new password."
        )
    deps.throttle.succeeded(name, address)
    if verdict.stale:
        anew = await deps.passwords.hash(password)
        async with deps.auth.transactions.write() as tx:
            await deps.store.set_password(tx, user.id, anew)
    return user


async def _find(deps: SignInDeps, tx: Tx, name: str) -> User | None:
    found = await deps.auth.store.find_user(tx, name)
    if found is None and "@" in name:
        found = await deps.auth.store.find_user(tx, name.lower())
    return found


async def note_refusal(
    deps: SignInDeps, *, user: User | None, name: str, address: str, by: str
) -> None:
    """Keep in the audit log that somebody did not get in.

    An unknown name may be a password in the wrong field: a long one is not kept.
    """
    said = name if len(name) <= LONGEST_NAME else f"({len(name)} characters)"
    entry = new_entry(
        deps.auth.clock,
        actor=user.name if user else _NOBODY,
        action="session.refuse",
        subject=user.id if user else "",
        detail={"name": said, "address": address, "by": by},
    )
    entry = replace(entry, outcome=Outcome.DENIED)
    async with deps.auth.transactions.write() as tx:
        await deps.audit.append(tx, entry)


async def open_session(
    deps: SignInDeps, *, user: User, client: str, address: str, by: str
) -> IssuedToken:
    """A new session of a page; its secret goes into the cookie.

    Args:
        deps: what it needs.
        user: who has shown who they are.
        client: what the browser says it is.
        address: where it is.
        by: how they have shown it, such as ``password``.
    """
    issued = _issue(
        deps,
        TokenKind.SESSION,
        user.id,
        name=client[:LONGEST_NAME] or "unknown",
        seconds=deps.rules.session.total_seconds(),
    )
    await _keep(deps, issued, "session.open", user, {"address": address, "by": by})
    return issued


async def open_token(
    deps: SignInDeps,
    *,
    user: User,
    name: str,
    expires_in_days: int | None,
    address: str,
) -> IssuedToken:
    """A named API token for a program in which somebody has typed their password.

    Raises:
        InvalidInputError: it would live longer than the server allows.
    """
    days = allowed_days(deps.auth, expires_in_days)
    seconds = None if days is None else days * 86_400.0
    issued = _issue(deps, TokenKind.USER, user.id, name=name, seconds=seconds)
    detail = {"address": address, "by": "password", "name": name}
    await _keep(deps, issued, "token.create", user, detail)
    return issued


async def issue_ticket(deps: SignInDeps, *, principal: UserPrincipal) -> IssuedToken:
    """What opens one WebSocket within half a minute, as the caller and no further."""
    made = _issue(
        deps,
        TokenKind.TICKET,
        principal.user_id,
        name="ticket",
        seconds=TICKET_SECONDS,
    )
    ticket = replace(
        made.token, scope=principal.scope, parent_id=principal.credential_id
    )
    async with deps.auth.transactions.write() as tx:
        await deps.auth.store.add_token(tx, ticket)
    return IssuedToken(ticket, made.secret)


# --- out ------------------------------------------------------------------------


async def sign_out(deps: SignInDeps, *, principal: UserPrincipal, address: str) -> None:
    """End the credential with which the caller came, and all that was made of it.

    Raises:
        InvalidInputError: there is none that could be ended.
    """
    if principal.credential_id is None:
        raise InvalidInputError(
            "What you came with is not kept on the server; it ends by itself."
        )
    await _end(deps, principal, principal.credential_id, address)


async def list_sessions(deps: SignInDeps, *, user_id: UserId) -> list[StoredToken]:
    """A user's sessions that are open, the oldest first."""
    now = deps.auth.clock.now()
    async with deps.auth.transactions.read() as tx:
        found = await deps.auth.store.list_tokens(tx, TokenKind.SESSION, user_id)
    return [session for session in found if _is_open(deps, session, now)]


async def end_session(
    deps: SignInDeps, *, principal: UserPrincipal, session_id: TokenId, address: str
) -> None:
    """End one of the caller's own sessions.

    Raises:
        NotFoundError: the caller has no such session.
    """
    sessions = await list_sessions(deps, user_id=principal.user_id)
    if session_id not in {session.id for session in sessions}:
        raise NotFoundError(f"There is no session {session_id} of yours to end.")
    await _end(deps, principal, session_id, address)


async def end_other_sessions(deps: SignInDeps, *, principal: UserPrincipal) -> None:
    """End all of the caller's sessions but the one with which they came."""
    async with deps.auth.transactions.write() as tx:
        await _end_sessions(deps, tx, principal.user_id, but=principal.credential_id)
    deps.changed()


# --- passwords ------------------------------------------------------------------


async def change_password(
    deps: SignInDeps, *, principal: UserPrincipal, old: str, new: str, address: str
) -> None:
    """Change the caller's own password; their other sessions end.

    Raises:
        ForbiddenError: the old one is not right, or there is none yet.
        InvalidInputError: the new one may not be taken.
        RateLimitedError: too many tries.
    """
    async with deps.auth.transactions.read() as tx:
        user = await _get(deps, tx, principal.user_id)
        stored = await deps.store.password_of(tx, user.id)
    if stored is None:
        raise ForbiddenError(
            "You have no password yet; an administrator can set the first one."
        )
    check_password(new, user.name, user.email)
    deps.throttle.attempt(user.name, address)
    if not (await deps.passwords.verify(stored, old)).fits:
        await note_refusal(
            deps, user=user, name=user.name, address=address, by="password"
        )
        raise ForbiddenError("The old password is not right; nothing is changed.")
    await _set(deps, principal, user, new, address)


async def set_password(
    deps: SignInDeps,
    *,
    principal: UserPrincipal,
    user_id: UserId,
    new: str,
    address: str,
) -> None:
    """Set a user's password for them; their sessions end.

    Raises:
        NotFoundError: there is no such user.
        InvalidInputError: the password may not be taken.
    """
    async with deps.auth.transactions.read() as tx:
        user = await _get(deps, tx, user_id)
    check_password(new, user.name, user.email)
    await _set(deps, principal, user, new, address)


async def _set(
    deps: SignInDeps, principal: UserPrincipal, user: User, new: str, address: str
) -> None:
    hashed = await deps.passwords.hash(new)
    entry = new_entry(
        deps.auth.clock,
        actor=principal.actor,
        action="password.set",
        subject=user.id,
        detail={"name": user.name, "address": address},
    )
    async with deps.auth.transactions.write() as tx:
        await deps.store.set_password(tx, user.id, hashed)
        await _end_sessions(deps, tx, user.id, but=principal.credential_id)
        await deps.audit.append(tx, entry)
    deps.changed()


# --- common ---------------------------------------------------------------------


def _issue(
    deps: SignInDeps,
    kind: TokenKind,
    user_id: UserId,
    *,
    name: str,
    seconds: float | None,
) -> IssuedToken:
    secret = new_secret(kind)
    now = deps.auth.clock.now()
    token = StoredToken(
        id=new_token_id(),
        kind=kind,
        subject_id=user_id,
        organization_id=None,
        name=name,
        hash=hash_secret(secret),
        created_at=now,
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
    )
    return IssuedToken(token, secret)


async def _keep(
    deps: SignInDeps,
    issued: IssuedToken,
    action: str,
    user: User,
    detail: dict[str, str],
) -> None:
    """Keep a new credential, if its user may still have one.

    Raises:
        UnauthorizedError: they were disabled meanwhile.
    """
    subject = issued.token.id
    introduce(user.name, actor_id=user.id, action=action, subject=subject)
    entry = new_entry(
        deps.auth.clock,
        actor=user.name,
        action=action,
        subject=subject,
        detail=detail,
    )
    async with deps.auth.transactions.write() as tx:
        known = await deps.auth.store.get_user(tx, user.id)
        if known is None or known.disabled_at is not None:
            raise UnauthorizedError(f"The user {user.name} is disabled or gone.")
        await deps.auth.store.add_token(tx, issued.token)
        await deps.audit.append(tx, entry)


async def _get(deps: SignInDeps, tx: Tx, user_id: UserId) -> User:
    user = await deps.auth.store.get_user(tx, user_id)
    if user is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return user


async def _end(
    deps: SignInDeps, principal: UserPrincipal, token_id: TokenId, address: str
) -> None:
    entry = new_entry(
        deps.auth.clock,
        actor=principal.actor,
        action="session.end",
        subject=token_id,
        detail={"address": address},
    )
    async with deps.auth.transactions.write() as tx:
        if await deps.auth.store.revoke_token(tx, token_id, deps.auth.clock.now()):
            await deps.audit.append(tx, entry)
    deps.changed()


async def _end_sessions(
    deps: SignInDeps, tx: Tx, user_id: UserId, *, but: TokenId | None
) -> None:
    now = deps.auth.clock.now()
    for session in await deps.auth.store.list_tokens(tx, TokenKind.SESSION, user_id):
        if session.id != but:
            await deps.auth.store.revoke_token(tx, session.id, now)


def _is_open(deps: SignInDeps, session: StoredToken, now: datetime) -> bool:
    heard = session.last_used_at or session.created_at
    return session.valid_at(now) and now < heard + deps.rules.idle
