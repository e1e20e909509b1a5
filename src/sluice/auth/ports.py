"""What the rules about callers need from a store, and from the tasks."""

from datetime import datetime
from typing import Protocol

from sluice.auth.model import Organization, StoredToken, TokenKind, User
from sluice.base.ids import (
    LeaseId,
    OrganizationId,
    RunTaskResultId,
    TaskId,
    TokenId,
    UserId,
)
from sluice.base.transactions import Tx


class TaskLeases(Protocol):
    """Knows whether a task token's lease still counts."""

    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        """Whether the lease may still speak for the task.

        True for the present lease; true for the last finished one until the task has
        ended, so that a repeated `finish` is answered and not refused.
        """
        ...


class ResultTokens(Protocol):
    """Knows whether the token of a run task's result still opens anything."""

    async def is_open(self, result_id: RunTaskResultId, token_hash: str) -> bool:
        """Whether the result waits for its service, and this is its token."""
        ...


class NoResults:
    """`ResultTokens` where nothing answers at gates: no token opens anything."""

    async def is_open(self, result_id: RunTaskResultId, token_hash: str) -> bool:
        """Never."""
        return False


class AuthStore(Protocol):
    """Users, organizations and opaque tokens."""

    async def add_organization(self, tx: Tx, organization: Organization) -> None:
        """Keep a new organization; ConflictError where the name is taken."""
        ...

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        ...

    async def find_organization(self, tx: Tx, name: str) -> Organization | None:
        """The organization with this name."""
        ...

    async def list_organizations(self, tx: Tx) -> list[Organization]:
        """All organizations by name."""
        ...

    async def add_user(self, tx: Tx, user: User) -> None:
        """Keep a new user; ConflictError where the name is taken."""
        ...

    async def get_user(self, tx: Tx, user_id: UserId) -> User | None:
        """The user with this id."""
        ...

    async def list_users(self, tx: Tx) -> list[User]:
        """All users by name."""
        ...

    async def count_users(self, tx: Tx) -> int:
        """How many users there are."""
        ...

    async def add_token(self, tx: Tx, token: StoredToken) -> None:
        """Keep a new token."""
        ...

    async def get_token(self, tx: Tx, token_id: TokenId) -> StoredToken | None:
        """The token with this id, revoked or not."""
        ...

    async def find_token(self, tx: Tx, token_hash: str) -> StoredToken | None:
        """The token with this hash, revoked or not."""
        ...

    async def list_tokens(
        self, tx: Tx, kind: TokenKind, subject_id: str
    ) -> list[StoredToken]:
        """The tokens of a user or a pool that are not revoked, oldest first."""
        ...

    async def revoke_token(self, tx: Tx, token_id: TokenId, at: datetime) -> bool:
        """End a token; False where it had ended before, so that one caller wins."""
        ...

    async def touch_token(
        self, tx: Tx, token_id: TokenId, at: datetime, *, unless_since: datetime
    ) -> None:
        """Note a use, unless one after ``unless_since`` is noted already."""
        ...
