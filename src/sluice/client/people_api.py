"""Routes about who is there: sign-in, tokens, users and organizations."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
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


class AuthApi:
    """Signing in, and the caller's own tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def setup(self, body: SetupInput) -> NewToken:
        """Redeem the one-time token of the first start for an admin's API token."""
        return one(
            NewToken, self._transport.send("POST", api_path("auth", "setup"), body=body)
        )

    def me(self) -> Me:
        """Who the caller is."""
        return one(Me, self._transport.send("GET", api_path("auth", "me")))

    def access_token(self) -> AccessToken:
        """A short-lived JWT of the caller."""
        return one(AccessToken, self._transport.send("POST", api_path("auth", "token")))

    def tokens(self) -> list[TokenInfo]:
        """The caller's API tokens."""
        return many(TokenInfo, self._transport.send("GET", api_path("tokens")))

    def create_token(self, body: TokenInput) -> NewToken:
        """A new API token of the caller's own."""
        return one(
            NewToken, self._transport.send("POST", api_path("tokens"), body=body)
        )

    def revoke_token(self, token_id: str) -> None:
        """End one of the caller's tokens."""
        self._transport.send("DELETE", api_path("tokens", token_id))


class UsersApi:
    """Users, for admins."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[User]:
        """All users."""
        return many(User, self._transport.send("GET", api_path("users")))

    def create(self, body: UserInput) -> User:
        """A new user."""
        return one(User, self._transport.send("POST", api_path("users"), body=body))

    def create_token(self, user_id: str, body: TokenInput) -> NewToken:
        """A first API token for another user, to be handed to them."""
        path = api_path("users", user_id, "tokens")
        return one(NewToken, self._transport.send("POST", path, body=body))


class OrganizationsApi:
    """Organizations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> list[Organization]:
        """All organizations the caller may see."""
        return many(
            Organization, self._transport.send("GET", api_path("organizations"))
        )

    def create(self, body: OrganizationInput) -> Organization:
        """A new organization."""
        return one(
            Organization,
            self._transport.send("POST", api_path("organizations"), body=body),
        )
