"""What can be done with users, organizations and tokens."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sluice.auth.audit_calls import about, introduce
from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import (
    UNLIMITED,
    Membership,
    Organization,
    Role,
    Scope,
    StoredToken,
    TokenKind,
    User,
    UserPrincipal,
)
from sluice.auth.ports import AuthStore, NoWorkspaces, WorkspaceNames
from sluice.auth.tokens import hash_secret, new_secret
from sluice.base.clock import Clock
from sluice.base.errors import InvalidInputError, NotFoundError, UnauthorizedError
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
OWN_NAMES = frozenset({"server", "cli", "up"})
"""Actors in records that are no users."""


@dataclass(frozen=True, slots=True)
class AuthDeps:
    """What the actions need.

    Attributes:
        workspaces: those that a token's scope may name.
        token_days_max: the most days that a user's API token lives; 0 for no limit.
    """

    transactions: Transactions
    store: AuthStore
    issuer: TokenIssuer
    clock: Clock
    workspaces: WorkspaceNames = field(default_factory=NoWorkspaces)
    token_days_max: int = 0


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its secret, which is known only now."""

    token: StoredToken
    secret: str = field(repr=False)


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

    The admin owns all organizations there are. Where there is none it makes one too, so
    that there is a place for pools and workspaces.

    Raises:
        UnauthorizedError: unknown, used up, or there is a user already.
        InvalidInputError: the name is the server's own.
    """
    check_user_name(name)
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
        days = allowed_days(deps, None)
        issued = _new_token(TokenKind.USER, user.id, "first", now, expires_in_days=days)
        await deps.store.add_token(tx, issued.token)
        await _own_all_organizations(deps, tx, user)
        introduce(name, actor_id=user.id, action="setup_token.redeem", subject=user.id)
    return issued


async def _own_all_organizations(deps: AuthDeps, tx: Tx, user: User) -> None:
    """Nobody owns those that were there before the first user; one is made without any."""
    found = await deps.store.list_organizations(tx)
    if not found:
        first = Organization(new_organization_id(), FIRST_ORGANIZATION, user.created_at)
        await deps.store.add_organization(tx, first)
        found = [first]
    for organization in found:
        await deps.store.add_member(
            tx, Membership(organization.id, user.id, Role.OWNER, user.created_at)
        )


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
    deps: AuthDeps,
    *,
    user_id: UserId,
    name: str,
    expires_in_days: int | None = None,
    scope: Scope = UNLIMITED,
) -> IssuedToken:
    """A new API token of a user.

    Raises:
        NotFoundError: there is no such user.
        InvalidInputError: it would live longer than the server allows.
    """
    issued = _new_token(
        TokenKind.USER,
        user_id,
        name,
        deps.clock.now(),
        expires_in_days=allowed_days(deps, expires_in_days),
    )
    issued = replace(issued, token=replace(issued.token, scope=scope))
    async with deps.transactions.write() as tx:
        if await deps.store.get_user(tx, user_id) is None:
            raise NotFoundError(f"There is no user {user_id}.")
        await deps.store.add_token(tx, issued.token)
        about(issued.token.id, name=name, user_id=user_id)
    return issued


def allowed_days(deps: AuthDeps, wanted: int | None) -> int | None:
    """How many days a user's token lives of which ``wanted`` is asked.

    Raises:
        InvalidInputError: more than the server allows.
    """
    most = deps.token_days_max
    if not most:
        return wanted
    if wanted is not None and wanted > most:
        raise InvalidInputError(
            f"A token may live {most} days here, not {wanted}; ask for fewer, or have"
            " SLUICE_TOKEN_DAYS_MAX raised."
        )
    return wanted or most


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
        about(issued.token.id, name=name, pool_id=pool_id)
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


async def create_user(
    deps: AuthDeps, *, name: str, admin: bool, email: str | None = None
) -> User:
    """A new user, without any token yet.

    Raises:
        ConflictError: the name or the address is taken.
        InvalidInputError: the name is the server's own.
    """
    check_user_name(name)
    user = User(
        new_user_id(),
        name,
        admin,
        deps.clock.now(),
        email=None if email is None else email.lower(),
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_user(tx, user)
        about(user.id, name=name, admin=str(admin).lower())
    return user


def check_user_name(name: str) -> None:
    """See that nobody is called as records call what no user does.

    Raises:
        InvalidInputError: the name is the server's own.
    """
    if name.lower() in OWN_NAMES:
        raise InvalidInputError(
            f"The name {name} stands for what the server does by itself; choose another."
        )


async def list_users(deps: AuthDeps) -> list[User]:
    """All users by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_users(tx)


async def create_organization(
    deps: AuthDeps, *, name: str, owner_id: UserId | None = None
) -> Organization:
    """A new organization, and who owns it; nobody where that is no stored user.

    Raises:
        ConflictError: the name is taken.
    """
    now = deps.clock.now()
    organization = Organization(new_organization_id(), name, now)
    async with deps.transactions.write() as tx:
        await deps.store.add_organization(tx, organization)
        about(organization.id, organization_id=organization.id, name=name)
        if owner_id is not None and await deps.store.get_user(tx, owner_id):
            await deps.store.add_member(
                tx, Membership(organization.id, owner_id, Role.OWNER, now)
            )
    return organization


async def rename_organization(
    deps: AuthDeps, *, organization_id: OrganizationId, name: str
) -> Organization:
    """Change an organization's name; what names it by its id goes on.

    Raises:
        ConflictError: the name is taken.
    """
    async with deps.transactions.write() as tx:
        await deps.store.rename_organization(tx, organization_id, name)
    return await get_organization(deps, id_or_name=organization_id)


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
