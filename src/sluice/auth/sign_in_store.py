"""Passwords and identities in SQL."""

from datetime import datetime

from sqlalchemy import delete, insert, select, update

from sluice.auth.model import TokenKind
from sluice.auth.sign_in_ports import SsoTeam
from sluice.auth.tables import identities, team_members, teams, tokens, users
from sluice.base.ids import OrganizationId, TeamId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of

_PASSING = (TokenKind.SESSION.value, TokenKind.TICKET.value)


class SqlSignInStore:
    """`SignInStore` on SQLite and PostgreSQL."""

    async def password_of(self, tx: Tx, user_id: UserId) -> str | None:
        """The hash of a user's password; None where they have none."""
        query = select(users.c.password_hash).where(users.c.id == user_id)
        found: str | None = await connection_of(tx).scalar(query)
        return found

    async def set_password(self, tx: Tx, user_id: UserId, hashed: str) -> None:
        """Keep the hash of a user's password."""
        statement = (
            update(users).where(users.c.id == user_id).values(password_hash=hashed)
        )
        await connection_of(tx).execute(statement)

    async def identified(self, tx: Tx, issuer: str, subject: str) -> UserId | None:
        """Whom a provider means by ``subject``."""
        query = select(identities.c.user_id).where(
            identities.c.issuer == issuer, identities.c.subject == subject
        )
        found = await connection_of(tx).scalar(query)
        return None if found is None else UserId(found)

    async def put_identity(
        self, tx: Tx, issuer: str, subject: str, user_id: UserId, *, at: datetime
    ) -> None:
        """Keep whom a provider means, or that they signed in again."""
        changed = await connection_of(tx).execute(
            update(identities)
            .where(identities.c.issuer == issuer, identities.c.subject == subject)
            .values(last_login_at=at)
        )
        if changed.rowcount == 0:
            await connection_of(tx).execute(
                insert(identities).values(
                    issuer=issuer,
                    subject=subject,
                    user_id=user_id,
                    created_at=at,
                    last_login_at=at,
                )
            )

    async def sso_teams(self, tx: Tx) -> list[SsoTeam]:
        """All teams into which a provider's group puts users."""
        query = select(teams).where(teams.c.sso_group.is_not(None)).order_by(teams.c.id)
        return [
            SsoTeam(TeamId(row.id), OrganizationId(row.organization_id), row.sso_group)
            for row in await connection_of(tx).execute(query)
        ]

    async def teams_by_sso(self, tx: Tx, user_id: UserId) -> dict[TeamId, bool]:
        """A user's teams, and whether a provider put them there."""
        query = select(team_members).where(team_members.c.user_id == user_id)
        return {
            TeamId(row.team_id): row.by_sso
            for row in await connection_of(tx).execute(query)
        }

    async def forget_ended(self, tx: Tx, before: datetime) -> int:
        """Delete sessions and tickets that expired before a time; how many."""
        statement = delete(tokens).where(
            tokens.c.kind.in_(_PASSING), tokens.c.expires_at < before
        )
        return (await connection_of(tx).execute(statement)).rowcount
