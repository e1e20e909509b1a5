"""Routes about who is there: sign-in, tokens, organizations, pools and agents."""

from sluice.client.answers import many, one
from sluice.client.transport import Transport
from sluice.wire.shapes.people import (
    AccessToken,
    Me,
    NewToken,
    Organization,
    OrganizationInput,
    SetupInput,
    TokenInfo,
    TokenInput,
    User,
    UserInput,
)
from sluice.wire.shapes.pools import Agent, Pool, PoolInput

_ROOT = "/api/v1"


class AuthApi:
    """Signing in, and the caller's own tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def setup(self, body: SetupInput) -> NewToken:
        """Redeem the one-time token of the first start for an admin's API token."""
        return one(
            NewToken, self._transport.send("POST", f"{_ROOT}/auth/setup", body=body)
        )

    def me(self) -> Me:
        """Who the caller is."""
        return one(Me, self._transport.send("GET", f"{_ROOT}/auth/me"))

    def access_token(self) -> AccessToken:
        """A short-lived JWT of the caller."""
        return one(AccessToken, self._transport.send("POST", f"{_ROOT}/auth/token"))

    def tokens(self) -> list[TokenInfo]:
        """The caller's API tokens."""
        return many(TokenInfo, self._transport.send("GET", f"{_ROOT}/tokens"))

    def create_token(self, body: TokenInput) -> NewToken:
        """A new API token of the caller's own."""
        return one(NewToken, self._transport.send("POST", f"{_ROOT}/tokens", body=body))

    def revoke_token(self, token_id: str) -> None:
        """End one of the caller's tokens."""
        self._transport.send("DELETE", f"{_ROOT}/tokens/{token_id}")


class UsersApi:
    """Users, for admins."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[User]:
        """All users."""
        return many(User, self._transport.send("GET", f"{_ROOT}/users"))

    def create(self, body: UserInput) -> User:
        """A new user."""
        return one(User, self._transport.send("POST", f"{_ROOT}/users", body=body))

    def create_token(self, user_id: str, body: TokenInput) -> NewToken:
        """A first API token for another user, to be handed to them."""
        path = f"{_ROOT}/users/{user_id}/tokens"
        return one(NewToken, self._transport.send("POST", path, body=body))


class OrganizationsApi:
    """Organizations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[Organization]:
        """All organizations the caller may see."""
        return many(Organization, self._transport.send("GET", f"{_ROOT}/organizations"))

    def create(self, body: OrganizationInput) -> Organization:
        """A new organization."""
        return one(
            Organization,
            self._transport.send("POST", f"{_ROOT}/organizations", body=body),
        )


class PoolsApi:
    """Agent pools and their tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization_id: str) -> list[Pool]:
        """An organization's pools."""
        path = f"{_ROOT}/organizations/{organization_id}/pools"
        return many(Pool, self._transport.send("GET", path))

    def create(self, organization_id: str, body: PoolInput) -> Pool:
        """A new pool."""
        path = f"{_ROOT}/organizations/{organization_id}/pools"
        return one(Pool, self._transport.send("POST", path, body=body))

    def create_token(self, pool_id: str, body: TokenInput) -> NewToken:
        """A token with which agents register in the pool."""
        path = f"{_ROOT}/pools/{pool_id}/tokens"
        return one(NewToken, self._transport.send("POST", path, body=body))


class AgentsApi:
    """Agents as the server last heard of them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization: str) -> list[Agent]:
        """An organization's agents."""
        path = f"{_ROOT}/organizations/{organization}/agents"
        return many(Agent, self._transport.send("GET", path))
