"""What the stores of users, members, teams and grants share: rows to records, and conflicts."""

from typing import Any

from sqlalchemy import Insert, Row, Update
from sqlalchemy.exc import IntegrityError

from sluice.auth.model import StoredToken, TokenKind, User
from sluice.auth.scopes import scope_from_json
from sluice.base.errors import ConflictError
from sluice.base.ids import TokenId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


async def write_unique(tx: Tx, statement: Insert | Update, what: str) -> None:
    """Insert or change a row.

    Args:
        tx: the transaction; over, for its caller, once this was refused.
        statement: what is to be done.
        what: begins the message of a refusal: "A user ada".

    Raises:
        ConflictError: what has to be unique is taken.
    """
    try:
        await connection_of(tx).execute(statement)
    except IntegrityError:
        raise ConflictError(f"{what} exists already; choose another name.") from None


def user_of(row: Row[Any]) -> User:
    """The user of a row that has all columns of `users`."""
    return User(
        id=UserId(row.id),
        name=row.name,
        admin=row.admin,
        created_at=row.created_at,
        email=row.email,
        disabled_at=row.disabled_at,
    )


def token_of(row: Row[Any]) -> StoredToken:
    """The token of a row that has all columns of `tokens`."""
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
        scope=scope_from_json(row.scope),
        parent_id=row.parent_id,
    )
