"""Users, organizations and tokens in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, exists, func, insert, or_, select, update

from sluice.auth.grant_store import SqlGrantStore
from sluice.auth.member_store import SqlMemberStore
from sluice.auth.model import Organization, StoredToken, TokenKind, User
from sluice.auth.rows import token_of, user_of, write_unique
from sluice.auth.scopes import scope_to_json
from sluice.auth.tables import (
    audit_entries,
    grants,
    identities,
    memberships,
    organizations,
    team_members,
    tokens,
    users,
)
from sluice.auth.team_store import SqlTeamStore
from sluice.base.ids import OrganizationId, TokenId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlAuthStore(SqlMemberStore, SqlTeamStore, SqlGrantStore):
    """`AuthStore` on SQLite and PostgreSQL."""

    async def add_organization(self, tx: Tx, organization: Organization) -> None:
        """Keep a new organization."""
        statement = insert(organizations).values(
            id=organization.id,
            name=organization.name,
            created_at=organization.created_at,
        )
        await write_unique(tx, statement, f"An organization {organization.name}")

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

    async def rename_organization(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> None:
        """Change an organization's name."""
        statement = (
            update(organizations)
            .where(organizations.c.id == organization_id)
            .values(name=name)
        )
        await write_unique(tx, statement, f"An organization {name}")

    async def add_user(self, tx: Tx, user: User) -> None:
        """Keep a new user."""
        statement = insert(users).values(
            id=user.id,
            name=user.name,
            admin=user.admin,
            created_at=user.created_at,
            email=user.email,
            disabled_at=user.disabled_at,
        )
        await write_unique(tx, statement, _user_words(user))

    async def get_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id."""
        query = select(users).where(users.c.id == user_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else user_of(row)

    async def hold_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id, whom nobody else changes until ``tx`` ends."""
        query = (
            select(users).where(users.c.id == user_id).with_for_update(key_share=True)
        )
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else user_of(row)

    async def find_user(self, tx: Tx, name: str) -> User | None:
        """The user with this name, or with this e-mail address in lower case."""
        # no name holds the sign that every address does
        query = select(users).where(or_(users.c.name == name, users.c.email == name))
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else user_of(row)

    async def save_user(self, tx: Tx, user: User) -> None:
        """Change a user."""
        statement = (
            update(users)
            .where(users.c.id == user.id)
            .values(
                name=user.name,
                admin=user.admin,
                email=user.email,
                disabled_at=user.disabled_at,
            )
        )
        await write_unique(tx, statement, _user_words(user))

    async def delete_user(self, tx: Tx, user_id: UserId) -> None:
        """Delete a user with all that is theirs."""
        for statement in (
            delete(grants).where(grants.c.user_id == user_id),
            delete(team_members).where(team_members.c.user_id == user_id),
            delete(memberships).where(memberships.c.user_id == user_id),
            delete(identities).where(identities.c.user_id == user_id),
            delete(tokens).where(tokens.c.subject_id == user_id),
            delete(users).where(users.c.id == user_id),
        ):
            await connection_of(tx).execute(statement)

    async def has_history(self, tx: Tx, user: User) -> bool:
        """Whether a user has ever signed in, or the audit log says that they did anything."""
        query = select(
            or_(
                exists().where(
                    tokens.c.subject_id == user.id,
                    tokens.c.last_used_at.is_not(None),
                ),
                exists().where(identities.c.user_id == user.id),
                exists().where(
                    or_(
                        audit_entries.c.actor_id == user.id,
                        audit_entries.c.actor == user.name,
                    )
                ),
            )
        )
        return bool((await connection_of(tx).execute(query)).scalar_one())

    async def has_other_admin(self, tx: Tx, user_id: UserId) -> bool:
        """Whether there is another administrator who is not disabled."""
        # all of them are held, in one order, so that of two calls at once one waits
        query = (
            select(users.c.id)
            .where(users.c.admin.is_(True), users.c.disabled_at.is_(None))
            .order_by(users.c.id)
            .with_for_update(key_share=True)
        )
        found = list(await connection_of(tx).scalars(query))
        return any(other != user_id for other in found)

    async def list_users(self, tx: Tx) -> list[User]:
        """All users by name."""
        query = select(users).order_by(users.c.name)
        return [user_of(row) for row in await connection_of(tx).execute(query)]

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
            scope=scope_to_json(token.scope),
            parent_id=token.parent_id,
        )
        await write_unique(tx, statement, f"A token {token.id}")

    async def get_token(self, tx: Tx, token_id: TokenId) -> StoredToken | None:
        """The token with this id, revoked or not."""
        query = select(tokens).where(tokens.c.id == token_id)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else token_of(row)

    async def find_token(self, tx: Tx, token_hash: str) -> StoredToken | None:
        """The token with this hash, revoked or not."""
        query = select(tokens).where(tokens.c.hash == token_hash)
        row = (await connection_of(tx).execute(query)).one_or_none()
        return None if row is None else token_of(row)

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
        return [token_of(row) for row in await connection_of(tx).execute(query)]

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


def _user_words(user: User) -> str:
    with_address = f" or with the address {user.email}" if user.email else ""
    return f"A user {user.name}{with_address}"


def _organization(row: Row[Any]) -> Organization:
    return Organization(OrganizationId(row.id), row.name, row.created_at)
