"""Turns a bearer secret into the caller it stands for: API token, pool token or JWT."""

from datetime import timedelta
from typing import assert_never

from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import (
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    StoredToken,
    TaskPrincipal,
    TokenKind,
    UserPrincipal,
)
from sluice.auth.ports import AuthStore, NoResults, ResultTokens, TaskLeases
from sluice.auth.tokens import hash_secret, kind_of
from sluice.base.clock import Clock
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import PoolId, UserId
from sluice.base.transactions import Transactions

TOUCH_EVERY = timedelta(minutes=1)


class Authenticator:
    """Looks opaque tokens up and verifies JWTs; a task token also needs its lease alive."""

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
                " (a page's WebSocket: the sub-protocols `sluice.v1, bearer.TOKEN`)."
            )
        kind = kind_of(bearer)
        if kind is not None:
            return await self._by_opaque(bearer)
        principal = self._issuer.verify(bearer)
        await self._check_alive(principal, bearer)
        return principal

    async def _check_alive(self, principal: Principal, bearer: str) -> None:
        if isinstance(principal, ResultPrincipal) and not await self._results.is_open(
            principal.result_id, hash_secret(bearer)
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
            if token is None or not token.valid_at(now):
                raise UnauthorizedError(
                    "The token is unknown, expired or revoked; make a new one."
                )
            user = (
                await self._store.get_user(tx, UserId(token.subject_id))
                if token.kind is TokenKind.USER
                else None
            )
        if token.last_used_at is None or token.last_used_at <= now - TOUCH_EVERY:
            async with self._transactions.write() as tx:
                await self._store.touch_token(
                    tx, token.id, now, unless_since=now - TOUCH_EVERY
                )
        match token.kind:
            case TokenKind.USER:
                if user is None:
                    raise UnauthorizedError("The token's user is gone.")
                return UserPrincipal(user.id, user.name, user.admin)
            case TokenKind.POOL:
                return _pool_principal(token)
            case TokenKind.SETUP:
                raise UnauthorizedError(
                    "A setup token is redeemed once with `sluice login`; "
                    "it opens nothing else."
                )
            case _:
                assert_never(token.kind)


def _pool_principal(token: StoredToken) -> PoolPrincipal:
    if token.organization_id is None:
        raise UnauthorizedError("The pool token names no organization; make a new one.")
    return PoolPrincipal(PoolId(token.subject_id), token.organization_id, token.id)
