"""What signing in needs from a store beside users and tokens."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sluice.base.ids import OrganizationId, TeamId, UserId
from sluice.base.transactions import Tx


@dataclass(frozen=True, slots=True)
class SsoTeam:
    """A team into which a provider's group puts users."""

    id: TeamId
    organization_id: OrganizationId
    group: str


class SignInStore(Protocol):
    """Passwords, and who identity providers say that users are."""

    async def password_of(self, tx: Tx, user_id: UserId) -> str | None:
        """The hash of a user's password; None where they have none."""
        ...

    async def set_password(self, tx: Tx, user_id: UserId, hashed: str) -> None:
        """Keep the hash of a user's password."""
        ...

    async def identified(self, tx: Tx, issuer: str, subject: str) -> UserId | None:
        """Whom a provider means by ``subject``."""
        ...

    async def put_identity(
        self, tx: Tx, issuer: str, subject: str, user_id: UserId, *, at: datetime
    ) -> None:
        """Keep whom a provider means, or that they signed in again."""
        ...

    async def sso_teams(self, tx: Tx) -> list[SsoTeam]:
        """All teams into which a provider's group puts users."""
        ...

    async def teams_by_sso(self, tx: Tx, user_id: UserId) -> dict[TeamId, bool]:
        """A user's teams, and whether a provider put them there."""
        ...

    async def forget_ended(self, tx: Tx, before: datetime) -> int:
        """Delete sessions and tickets that expired before a time; how many."""
        ...
