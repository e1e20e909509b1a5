"""What can be done with users, organizations and tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import (
    Organization,
    StoredToken,
    TokenKind,
    User,
    UserPrincipal,
)
from sluice.auth.ports import AuthStore
from sluice.auth.tokens import hash_secret, new_secret
from sluice.base.clock import Clock
from sluice.base.errors import NotFoundError, UnauthorizedError
from sluice.base.ids import (
    OrganizationId,
    PoolId,
    TokenId,
    UserId,
    new_organization_id,
    new_token_id,
    new_user_id,
)
from sluice.base.transactions import Transactions, Tx

FIRST_ORGANIZATION = "default"


@dataclass(frozen=True, slots=True)
class AuthDeps:
    """What the actions need."""

    transactions: Transactions
    store: AuthStore
    issuer: TokenIssuer
    clock: Clock


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its secret, which is known only now."""

    token: StoredToken
    secret: str


# --- first start ----------------------------------------------------------------


async def issue_setup_token(deps: AuthDeps) -> str | None:
    """A one-time token for the first admin, good for a day; None once there is a user.

    Those of other starts stay good, since several servers may start at once on one
    database; whichever is redeemed first ends them all.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        if await deps.store.count_users(tx) > 0:
            return None
        issued = _new_token(TokenKind.SETUP, "", "setup", now, expires_in_days=1)
        await deps.store.add_token(tx, issued.token)
    return issued.secret


async def redeem_setup_token(deps: AuthDeps, *, secret: str, name: str) -> IssuedToken:
    """Make the first admin user and an API token for it; works once.

    Where there is no organization yet it makes one too, so that there is a place for pools
    and workspaces.

    Raises:
        UnauthorizedError: unknown, used up, or there is a user already.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        token = await deps.store.find_token(tx, hash_secret(secret))
        if (
            token is None
            or token.kind is not TokenKind.SETUP
            or not token.valid_at(now)
            or await deps.store.count_users(tx) > 0
            or not await deps.store.revoke_token(tx, token.id, now)
        ):
            raise UnauthorizedError(
                "The setup token is unknown, used up or older than a day; a restart "
                "of the server prints a new one while there is no user."
            )
        await _end_setup_tokens(deps, tx, now)
        user = User(new_user_id(), name, admin=True, created_at=now)
        await deps.store.add_user(tx, user)
        issued = _new_token(TokenKind.USER, user.id, "first", now)
        await deps.store.add_token(tx, issued.token)
        if not await deps.store.list_organizations(tx):
            first = Organization(new_organization_id(), FIRST_ORGANIZATION, now)
            await deps.store.add_organization(tx, first)
    return issued


async def _end_setup_tokens(deps: AuthDeps, tx: Tx, now: datetime) -> None:
    for earlier in await deps.store.list_tokens(tx, TokenKind.SETUP, ""):
        await deps.store.revoke_token(tx, earlier.id, now)


# --- the caller's own -------------------------------------------------------------


def issue_access_token(
    deps: AuthDeps, *, principal: UserPrincipal
) -> tuple[str, datetime]:
    """A short-lived JWT of the caller."""
    return deps.issuer.user(principal)


async def create_user_token(
    deps: AuthDeps, *, user_id: UserId, name: str, expires_in_days: int | None = None
) -> IssuedToken:
    """A new API token of a user."""
    now = deps.clock.now()
    issued = _new_token(
        TokenKind.USER, user_id, name, now, expires_in_days=expires_in_days
    )
    async with deps.transactions.write() as tx:
        if await deps.store.get_user(tx, user_id) is None:
            raise NotFoundError(f"There is no user {user_id}.")
        await deps.store.add_token(tx, issued.token)
    return issued


async def list_user_tokens(deps: AuthDeps, *, user_id: UserId) -> list[StoredToken]:
    """A user's API tokens that are not revoked."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_tokens(tx, TokenKind.USER, user_id)


async def revoke_user_token(
    deps: AuthDeps, *, user_id: UserId, token_id: TokenId
) -> None:
    """End one of a user's API tokens.

    Raises:
        NotFoundError: the user has no such token.
    """
    await _revoke(deps, TokenKind.USER, user_id, token_id)


# --- pools ------------------------------------------------------------------------


async def create_pool_token(
    deps: AuthDeps,
    *,
    pool_id: PoolId,
    organization_id: OrganizationId,
    name: str,
    expires_in_days: int | None = None,
) -> IssuedToken:
    """A new token with which agents register in a pool."""
    now = deps.clock.now()
    issued = _new_token(
        TokenKind.POOL,
        pool_id,
        name,
        now,
        organization_id=organization_id,
        expires_in_days=expires_in_days,
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_token(tx, issued.token)
    return issued


async def list_pool_tokens(deps: AuthDeps, *, pool_id: PoolId) -> list[StoredToken]:
    """A pool's tokens that are not revoked."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_tokens(tx, TokenKind.POOL, pool_id)


async def revoke_pool_token(
    deps: AuthDeps, *, pool_id: PoolId, token_id: TokenId
) -> None:
    """End one of a pool's tokens; agents that registered with it go on.

    Raises:
        NotFoundError: the pool has no such token.
    """
    await _revoke(deps, TokenKind.POOL, pool_id, token_id)


# --- users and organizations ------------------------------------------------------


async def create_user(deps: AuthDeps, *, name: str, admin: bool) -> User:
    """A new user, without any token yet."""
    user = User(new_user_id(), name, admin, deps.clock.now())
    async with deps.transactions.write() as tx:
        await deps.store.add_user(tx, user)
    return user


async def list_users(deps: AuthDeps) -> list[User]:
    """All users by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_users(tx)


async def create_organization(deps: AuthDeps, *, name: str) -> Organization:
    """A new organization."""
    organization = Organization(new_organization_id(), name, deps.clock.now())
    async with deps.transactions.write() as tx:
        await deps.store.add_organization(tx, organization)
    return organization


async def list_organizations(deps: AuthDeps) -> list[Organization]:
    """All organizations by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_organizations(tx)


async def get_organization(deps: AuthDeps, *, id_or_name: str) -> Organization:
    """An organization by its id or its name.

    Raises:
        NotFoundError: there is none.
    """
    async with deps.transactions.read() as tx:
        found = await deps.store.get_organization(tx, OrganizationId(id_or_name))
        if found is None:
            found = await deps.store.find_organization(tx, id_or_name)
    if found is None:
        raise NotFoundError(f"There is no organization {id_or_name}.")
    return found


def _new_token(
    kind: TokenKind,
    subject_id: str,
    name: str,
    now: datetime,
    *,
    organization_id: OrganizationId | None = None,
    expires_in_days: int | None = None,
) -> IssuedToken:
    secret = new_secret(kind)
    ends = None if expires_in_days is None else now + timedelta(days=expires_in_days)
    token = StoredToken(
        id=new_token_id(),
        kind=kind,
        subject_id=subject_id,
        organization_id=organization_id,
        name=name,
        hash=hash_secret(secret),
        created_at=now,
        expires_at=ends,
    )
    return IssuedToken(token, secret)


async def _revoke(
    deps: AuthDeps, kind: TokenKind, subject_id: str, token_id: TokenId
) -> None:
    async with deps.transactions.write() as tx:
        token = await deps.store.get_token(tx, token_id)
        if (
            token is None
            or (token.kind, token.subject_id) != (kind, subject_id)
            or not await deps.store.revoke_token(tx, token_id, deps.clock.now())
        ):
            raise NotFoundError(f"There is no token {token_id} to revoke here.")
