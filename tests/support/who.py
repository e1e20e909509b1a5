"""Puts people into organizations, teams and workspaces, past the API and its rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sluice.auth.model import (
    UNLIMITED,
    Grant,
    Membership,
    Organization,
    OrganizationPermission,
    Role,
    Scope,
    StoredToken,
    Team,
    TokenKind,
    User,
    WorkspaceLevel,
)
from sluice.auth.ports import AuthStore
from sluice.auth.tokens import hash_secret, new_secret
from sluice.base.ids import (
    OrganizationId,
    TeamId,
    UserId,
    WorkspaceId,
    new_token_id,
    random_id,
)
from sluice.base.transactions import Transactions

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@dataclass
class People:
    """Writes straight to a store; what it makes has names of its own."""

    transactions: Transactions
    store: AuthStore

    async def organization(self, name: str) -> OrganizationId:
        """A new organization."""
        made = OrganizationId(random_id("org"))
        async with self.transactions.write() as tx:
            await self.store.add_organization(tx, Organization(made, name, NOW))
        return made

    async def user(self, name: str, *, admin: bool = False) -> UserId:
        """A new user, who is nothing anywhere."""
        made = UserId(random_id("user"))
        async with self.transactions.write() as tx:
            await self.store.add_user(tx, User(made, name, admin, NOW))
        return made

    async def member(
        self, owner: OrganizationId, user_id: UserId, role: Role = Role.MEMBER
    ) -> None:
        """Take a user into an organization."""
        async with self.transactions.write() as tx:
            await self.store.add_member(tx, Membership(owner, user_id, role, NOW))

    async def team(
        self,
        owner: OrganizationId,
        members: Iterable[UserId] = (),
        *,
        permissions: Iterable[OrganizationPermission] = (),
        level: WorkspaceLevel | None = None,
    ) -> TeamId:
        """A new team of members."""
        made = TeamId(random_id("team"))
        team = Team(made, owner, made, frozenset(permissions), level, None, NOW)
        async with self.transactions.write() as tx:
            await self.store.add_team(tx, team)
            for user_id in members:
                await self.store.put_team_member(tx, made, user_id, by_sso=False)
        return made

    async def grant(
        self,
        owner: OrganizationId,
        workspace_id: WorkspaceId,
        level: WorkspaceLevel,
        *,
        user_id: UserId | None = None,
        team_id: TeamId | None = None,
    ) -> None:
        """Give a user or a team a level in a workspace."""
        grant = Grant(owner, workspace_id, level, team_id, user_id)
        async with self.transactions.write() as tx:
            await self.store.put_grant(tx, grant)

    async def token(
        self,
        user_id: UserId,
        scope: Scope = UNLIMITED,
        *,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> str:
        """The secret of a new API token of a user."""
        secret = new_secret(TokenKind.USER)
        token_id = new_token_id()
        token = StoredToken(
            id=token_id,
            kind=TokenKind.USER,
            subject_id=user_id,
            organization_id=None,
            name=token_id,
            hash=hash_secret(secret),
            created_at=NOW,
            expires_at=expires_at,
            scope=scope,
        )
        async with self.transactions.write() as tx:
            await self.store.add_token(tx, token)
            if revoked_at is not None:
                await self.store.revoke_token(tx, token.id, revoked_at)
        return secret
