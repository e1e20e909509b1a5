"""The in-memory twin of `SqlAuthStore`."""

from dataclasses import replace
from datetime import datetime

from sluice.auth.model import Organization, StoredToken, TokenKind, User
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TokenId, UserId
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing
from sluice.testing.memory_members import MemoryMemberStore, Who
from sluice.testing.memory_teams import MemoryGrantStore, MemoryTeamStore


class MemoryAuthStore(MemoryMemberStore, MemoryTeamStore, MemoryGrantStore):
    """`AuthStore` over dicts; it knows of no audit log."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        super().__init__(Who(transactions))
        self._organizations: dict[OrganizationId, Organization] = transactions.table({})
        self._users: dict[UserId, User] = self.who.users
        self._tokens: dict[TokenId, StoredToken] = transactions.table({})

    @property
    def tokens(self) -> dict[TokenId, StoredToken]:
        """All tokens, for twins that know more of them."""
        return self._tokens

    async def add_organization(self, tx: Tx, organization: Organization) -> None:
        """Keep a new organization."""
        writing(tx)
        if await self.find_organization(tx, organization.name) is not None:
            raise ConflictError(
                f"An organization {organization.name} exists already; "
                "choose another name."
            )
        self._organizations[organization.id] = organization

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        reading(tx)
        return self._organizations.get(organization_id)

    async def find_organization(self, tx: Tx, name: str) -> Organization | None:
        """The organization with this name."""
        reading(tx)
        found = (o for o in self._organizations.values() if o.name == name)
        return next(found, None)

    async def list_organizations(self, tx: Tx) -> list[Organization]:
        """All organizations by name."""
        reading(tx)
        return sorted(self._organizations.values(), key=lambda o: o.name)

    async def rename_organization(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> None:
        """Change an organization's name."""
        writing(tx)
        known = await self.find_organization(tx, name)
        if known is not None and known.id != organization_id:
            raise ConflictError(
                f"An organization {name} exists already; choose another name."
            )
        former = self._organizations[organization_id]
        self._organizations[organization_id] = replace(former, name=name)

    async def add_user(self, tx: Tx, user: User) -> None:
        """Keep a new user."""
        writing(tx)
        self._put_user(user)

    async def get_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id."""
        reading(tx)
        return self._users.get(user_id)

    async def hold_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id; nobody else writes anyway."""
        writing(tx)
        return self._users.get(user_id)

    async def find_user(self, tx: Tx, name: str) -> User | None:
        """The user with this name, or with this e-mail address in lower case."""
        reading(tx)
        found = (u for u in self._users.values() if name in {u.name, u.email})
        return next(found, None)

    async def save_user(self, tx: Tx, user: User) -> None:
        """Change a user."""
        writing(tx)
        self._put_user(user)

    async def delete_user(self, tx: Tx, user_id: UserId) -> None:
        """Delete a user with all that is theirs."""
        writing(tx)
        self.who.forget(user_id)
        for token in list(self._tokens.values()):
            if token.subject_id == user_id:
                del self._tokens[token.id]

    async def has_history(self, tx: Tx, user: User) -> bool:
        """Whether a user has ever signed in."""
        reading(tx)
        return any(
            token.subject_id == user.id and token.last_used_at is not None
            for token in self._tokens.values()
        )

    async def has_other_admin(self, tx: Tx, user_id: UserId) -> bool:
        """Whether there is another administrator who is not disabled."""
        writing(tx)
        return any(
            user.admin and user.disabled_at is None and user.id != user_id
            for user in self._users.values()
        )

    def _put_user(self, user: User) -> None:
        others = [known for known in self._users.values() if known.id != user.id]
        if any(
            known.name == user.name or (user.email and known.email == user.email)
            for known in others
        ):
            with_address = f" or with the address {user.email}" if user.email else ""
            raise ConflictError(
                f"A user {user.name}{with_address} exists already; choose another name."
            )
        self._users[user.id] = user

    async def list_users(self, tx: Tx) -> list[User]:
        """All users by name."""
        reading(tx)
        return sorted(self._users.values(), key=lambda user: user.name)

    async def count_users(self, tx: Tx) -> int:
        """How many users there are."""
        reading(tx)
        return len(self._users)

    async def add_token(self, tx: Tx, token: StoredToken) -> None:
        """Keep a new token."""
        writing(tx)
        if token.id in self._tokens or await self.find_token(tx, token.hash):
            raise ConflictError(
                f"A token {token.id} exists already; choose another name."
            )
        self._tokens[token.id] = token

    async def get_token(self, tx: Tx, token_id: TokenId) -> StoredToken | None:
        """The token with this id, revoked or not."""
        reading(tx)
        return self._tokens.get(token_id)

    async def find_token(self, tx: Tx, token_hash: str) -> StoredToken | None:
        """The token with this hash, revoked or not."""
        reading(tx)
        return next((t for t in self._tokens.values() if t.hash == token_hash), None)

    async def list_tokens(
        self, tx: Tx, kind: TokenKind, subject_id: str
    ) -> list[StoredToken]:
        """The tokens of a user or a pool that are not revoked, oldest first."""
        reading(tx)
        found = [
            token
            for token in self._tokens.values()
            if (token.kind, token.subject_id) == (kind, subject_id)
            and token.revoked_at is None
        ]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def revoke_token(self, tx: Tx, token_id: TokenId, at: datetime) -> bool:
        """End a token; False where it had ended before."""
        writing(tx)
        token = self._tokens.get(token_id)
        if token is None or token.revoked_at is not None:
            return False
        self._tokens[token_id] = replace(token, revoked_at=at)
        return True

    async def touch_token(
        self, tx: Tx, token_id: TokenId, at: datetime, *, unless_since: datetime
    ) -> None:
        """Note a use, unless one after ``unless_since`` is noted already."""
        writing(tx)
        token = self._tokens.get(token_id)
        if token is None:
            return
        if token.last_used_at is None or token.last_used_at <= unless_since:
            self._tokens[token_id] = replace(token, last_used_at=at)
