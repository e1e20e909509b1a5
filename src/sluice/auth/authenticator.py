"""Turns a secret into the caller it stands for: API or pool token, session, ticket or JWT."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

from sluice.auth.jwt import LOCAL_USER, TokenIssuer
from sluice.auth.model import (
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    StoredToken,
    TaskPrincipal,
    TokenKind,
    User,
    UserPrincipal,
)
from sluice.auth.ports import AuthStore, NoResults, ResultTokens, TaskLeases
from sluice.auth.tokens import hash_secret, kind_of
from sluice.base.clock import Clock
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import PoolId, TokenId, UserId
from sluice.base.transactions import Transactions, Tx

TOUCH_EVERY = timedelta(minutes=1)
SESSION_IDLE = timedelta(hours=8)
_OF_USERS = frozenset({TokenKind.USER, TokenKind.SESSION, TokenKind.TICKET})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Authenticator:
    """Looks opaque tokens up and verifies JWTs; a task token also needs its lease alive.

    Attributes:
        session_idle: a page's session ends after so long without a request.
    """

    session_idle = SESSION_IDLE

    def __init__(
        self,
        transactions: Transactions,
        store: AuthStore,
        issuer: TokenIssuer,
        leases: TaskLeases,
        clock: Clock,
        *,
        results: ResultTokens | None = None,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._issuer = issuer
        self._leases = leases
        self._results = results or NoResults()
        self._clock = clock

    async def authenticate(self, bearer: str) -> Principal:
        """The caller.

        Raises:
            UnauthorizedError: unknown, revoked, expired, forged, or its lease is over.
        """
        if not bearer:
            raise UnauthorizedError(
                "No token came with the request; send `Authorization: Bearer TOKEN`"
                " (a page's WebSocket: the sub-protocols `sluice.v1, bearer.TOKEN`), or"
                " sign in with POST /api/v1/auth/login."
            )
        kind = kind_of(bearer)
        if kind is not None:
            return await self._by_opaque(bearer)
        principal = self._issuer.verify(bearer)
        if isinstance(principal, UserPrincipal):
            return await self._by_claims(principal)
        await self.check_alive(principal, hash_secret(bearer))
        return principal

    async def check_alive(self, principal: Principal, secret_hash: str) -> None:
        """See that the lease of a task's token, or the result of a service's, still counts.

        Raises:
            UnauthorizedError: its time is over.
        """
        if isinstance(principal, ResultPrincipal) and not await self._results.is_open(
            principal.result_id, secret_hash
        ):
            raise UnauthorizedError(
                f"The token of {principal.result_id} is dead: its result is final, or"
                " its task has ended."
            )
        if isinstance(principal, TaskPrincipal) and not await self._leases.is_current(
            principal.task_id, principal.lease_id
        ):
            raise UnauthorizedError(
                f"The lease {principal.lease_id} of {principal.task_id} is over, "
                "and its token with it; stop the phase."
            )

    async def _by_opaque(self, bearer: str) -> Principal:
        now = self._clock.now()
        async with self._transactions.read() as tx:
            token = await self._store.find_token(tx, hash_secret(bearer))
            if token is None or not self.is_valid(token, now):
                raise _ended()
            user = await self._user_of(tx, token)
            await self._check_parent(tx, token.parent_id, now)
        if token.kind is not TokenKind.TICKET and _long_unused(token, now):
            async with self._transactions.write() as tx:
                await self._store.touch_token(
                    tx, token.id, now, unless_since=now - TOUCH_EVERY
                )
        match token.kind:
            case TokenKind.USER | TokenKind.SESSION:
                return _user_principal(_known(user), token)
            case TokenKind.TICKET:
                await self._redeem(token, now)
                return _user_principal(_known(user), token)
            case TokenKind.POOL:
                return _pool_principal(token)
            case TokenKind.SETUP:
                raise UnauthorizedError(
                    "A setup token is redeemed once with `sluice login`; "
                    "it opens nothing else."
                )
            case _:
                assert_never(token.kind)

    async def _redeem(self, ticket: StoredToken, now: datetime) -> None:
        async with self._transactions.write() as tx:
            if not await self._store.revoke_token(tx, ticket.id, now):
                raise _ended()

    async def _by_claims(self, claimed: UserPrincipal) -> UserPrincipal:
        """The user as they are now, whatever their token says; `sluice up` has no user."""
        if claimed == LOCAL_USER:
            return claimed
        now = self._clock.now()
        async with self._transactions.read() as tx:
            user = await self._store.get_user(tx, claimed.user_id)
            await self._check_parent(tx, claimed.credential_id, now)
        user = _known(user)
        return replace(claimed, name=user.name, admin=user.admin)

    async def _user_of(self, tx: Tx, token: StoredToken) -> User | None:
        if token.kind not in _OF_USERS:
            return None
        if token.kind is TokenKind.TICKET and token.subject_id == LOCAL_USER.user_id:
            return _local()
        return await self._store.get_user(tx, UserId(token.subject_id))

    async def _check_parent(
        self, tx: Tx, parent_id: TokenId | None, now: datetime
    ) -> None:
        if parent_id is None:
            return
        parent = await self._store.get_token(tx, parent_id)
        if parent is None or not self.is_valid(parent, now):
            raise UnauthorizedError(
                "What this was made with has ended: signed out, revoked or expired."
                " Sign in again."
            )

    def is_valid(self, token: StoredToken, now: datetime) -> bool:
        """Whether a stored token opens anything; a session ends by being idle, too."""
        if not token.valid_at(now):
            return False
        if token.kind is not TokenKind.SESSION:
            return True
        return now < (token.last_used_at or token.created_at) + self.session_idle


def _ended() -> UnauthorizedError:
    return UnauthorizedError(
        "The token is unknown, expired or revoked; make a new one, or sign in again."
    )


def _known(user: User | None) -> User:
    if user is None:
        raise UnauthorizedError("The token's user is gone.")
    if user.disabled_at is not None:
        raise UnauthorizedError(
            f"The user {user.name} is disabled; an administrator can enable them."
        )
    return user


def _long_unused(token: StoredToken, now: datetime) -> bool:
    return token.last_used_at is None or token.last_used_at <= now - TOUCH_EVERY


def _local() -> User:
    return User(LOCAL_USER.user_id, LOCAL_USER.name, admin=True, created_at=_EPOCH)


def _user_principal(user: User, token: StoredToken) -> UserPrincipal:
    """What a ticket opens ends with what it was made with, not with itself."""
    ticket = token.kind is TokenKind.TICKET
    return UserPrincipal(
        user.id,
        user.name,
        user.admin,
        credential_id=token.parent_id if ticket else token.id,
        scope=token.scope,
        until=None if ticket else token.expires_at,
    )


def _pool_principal(token: StoredToken) -> PoolPrincipal:
    if token.organization_id is None:
        raise UnauthorizedError("The pool token names no organization; make a new one.")
    return PoolPrincipal(PoolId(token.subject_id), token.organization_id, token.id)
