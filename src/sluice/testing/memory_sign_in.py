"""The in-memory twin of `SqlSignInStore`."""

from datetime import datetime

from sluice.auth.model import TokenKind
from sluice.auth.sign_in_ports import SsoTeam
from sluice.base.ids import TeamId, UserId
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.testing.memory_auth import MemoryAuthStore

_PASSING = frozenset({TokenKind.SESSION, TokenKind.TICKET})


class MemorySignInStore:
    """`SignInStore` over dicts, beside the twin that knows users, teams and tokens."""

    def __init__(
        self, transactions: MemoryTransactions, people: MemoryAuthStore
    ) -> None:
        self._people = people
        self._passwords: dict[UserId, str] = transactions.table({})
        self._identities: dict[tuple[str, str], UserId] = transactions.table({})

    async def password_of(self, tx: Tx, user_id: UserId) -> str | None:
        """The hash of a user's password; None where they have none."""
        reading(tx)
        return self._passwords.get(user_id)

    async def set_password(self, tx: Tx, user_id: UserId, hashed: str) -> None:
        """Keep the hash of a user's password."""
        writing(tx)
        if user_id in self._people.who.users:
            self._passwords[user_id] = hashed

    async def identified(self, tx: Tx, issuer: str, subject: str) -> UserId | None:
        """Whom a provider means by ``subject``."""
        reading(tx)
        return self._identities.get((issuer, subject))

    async def put_identity(
        self, tx: Tx, issuer: str, subject: str, user_id: UserId, *, at: datetime
    ) -> None:
        """Keep whom a provider means, or that they signed in again."""
        writing(tx)
        self._identities.setdefault((issuer, subject), user_id)

    async def sso_teams(self, tx: Tx) -> list[SsoTeam]:
        """All teams into which a provider's group puts users."""
        reading(tx)
        return sorted(
            (
                SsoTeam(team.id, team.organization_id, team.sso_group)
                for team in self._people.who.teams.values()
                if team.sso_group is not None
            ),
            key=lambda team: team.id,
        )

    async def teams_by_sso(self, tx: Tx, user_id: UserId) -> dict[TeamId, bool]:
        """A user's teams, and whether a provider put them there."""
        reading(tx)
        return {
            team_id: by_sso
            for (team_id, member), by_sso in self._people.who.team_members.items()
            if member == user_id
        }

    async def forget_ended(self, tx: Tx, before: datetime) -> int:
        """Delete sessions and tickets that expired before a time; how many."""
        writing(tx)
        tokens = self._people.tokens
        ended = [
            token.id
            for token in tokens.values()
            if token.kind in _PASSING
            and token.expires_at is not None
            and token.expires_at < before
        ]
        for token_id in ended:
            del tokens[token_id]
        return len(ended)
