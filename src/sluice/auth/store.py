"""Users, organizations and tokens in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Row, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from sluice.auth.model import Organization, StoredToken, TokenKind, User
from sluice.auth.tables import organizations, tokens, users
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TokenId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlAuthStore:
    """`AuthStore` on SQLite and PostgreSQL."""

    async def add_organization(self, tx: Tx, organization: Organization) -> None:
        """Keep a new organization."""
        statement = insert(organizations).values(
            id=organization.id,
            name=organization.name,
            created_at=organization.created_at,
        )
        await _insert(tx, statement, f"An organization {organization.name}")

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        query = select(organizations).where(organizations.c.id == organization_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _organization(row)

    async def find_organization(self, tx: Tx, name: str) -> Organization | None:
        """The organization with this name."""
        query = select(organizations).where(organizations.c.name == name)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _organization(row)

    async def list_organizations(self, tx: Tx) -> list[Organization]:
        """All organizations by name."""
        query = select(organizations).order_by(organizations.c.name)
        return [_organization(row) for row in await connection_of(tx).execute(query)]

    async def add_user(self, tx: Tx, user: User) -> None:
        """Keep a new user."""
        statement = insert(users).values(
            id=user.id, name=user.name, admin=user.admin, created_at=user.created_at
        )
        await _insert(tx, statement, f"A user {user.name}")

    async def get_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id."""
        query = select(users).where(users.c.id == user_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _user(row)

    async def list_users(self, tx: Tx) -> list[User]:
        """All users by name."""
        query = select(users).order_by(users.c.name)
        return [_user(row) for row in await connection_of(tx).execute(query)]

    async def count_users(self, tx: Tx) -> int:
        """How many users there are."""
        query = select(func.count()).select_from(users)
        return int((await connection_of(tx).execute(query)).scalar_one())

    async def add_token(self, tx: Tx, token: StoredToken) -> None:
        """Keep a new token."""
        statement = insert(tokens).values(
            id=token.id,
            kind=token.kind.value,
            subject_id=token.subject_id,
            organization_id=token.organization_id,
            name=token.name,
            hash=token.hash,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            revoked_at=token.revoked_at,
        )
        await _insert(tx, statement, f"A token {token.id}")

    async def get_token(self, tx: Tx, token_id: TokenId) -> StoredToken | None:
        """The token with this id, revoked or not."""
        query = select(tokens).where(tokens.c.id == token_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _token(row)

    async def find_token(self, tx: Tx, token_hash: str) -> StoredToken | None:
        """The token with this hash, revoked or not."""
        query = select(tokens).where(tokens.c.hash == token_hash)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else _token(row)

    async def list_tokens(
        self, tx: Tx, kind: TokenKind, subject_id: str
    ) -> list[StoredToken]:
        """The tokens of a user or a pool that are not revoked, oldest first."""
        query = (
            select(tokens)
            .where(
                tokens.c.kind == kind.value,
                tokens.c.subject_id == subject_id,
                tokens.c.revoked_at.is_(None),
            )
            .order_by(tokens.c.created_at, tokens.c.id)
        )
        return [_token(row) for row in await connection_of(tx).execute(query)]

    async def revoke_token(self, tx: Tx, token_id: TokenId, at: datetime) -> bool:
        """End a token; False where it had ended before."""
        statement = (
            update(tokens)
            .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        return (await connection_of(tx).execute(statement)).rowcount == 1

    async def touch_token(
        self, tx: Tx, token_id: TokenId, at: datetime, *, unless_since: datetime
    ) -> None:
        """Note a use, unless one after ``unless_since`` is noted already."""
        statement = (
            update(tokens)
            .where(
                tokens.c.id == token_id,
                or_(
                    tokens.c.last_used_at.is_(None),
                    tokens.c.last_used_at <= unless_since,
                ),
            )
            .values(last_used_at=at)
        )
        await connection_of(tx).execute(statement)


async def _insert(tx: Tx, statement: Insert, what: str) -> None:
    try:
        await connection_of(tx).execute(statement)
    except IntegrityError:
        raise ConflictError(f"{what} exists already; choose another name.") from None


def _organization(row: Row[Any]) -> Organization:
    return Organization(OrganizationId(row.id), row.name, row.created_at)


def _user(row: Row[Any]) -> User:
    return User(UserId(row.id), row.name, row.admin, row.created_at)


def _token(row: Row[Any]) -> StoredToken:
    return StoredToken(
        id=TokenId(row.id),
        kind=TokenKind(row.kind),
        subject_id=row.subject_id,
        organization_id=row.organization_id,
        name=row.name,
        hash=row.hash,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
