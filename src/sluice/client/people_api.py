"""Routes about who is there: sign-in, tokens, users and organizations."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.people import (
    AccessToken,
    ApiTokenInput,
    Me,
    NewToken,
    Organization,
    OrganizationInput,
    Permissions,
    SetupInput,
    TokenInfo,
    User,
    UserInput,
    UserPatch,
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

    def create_token(self, body: ApiTokenInput) -> NewToken:
        """A new API token of the caller's own."""
        return one(
            NewToken, self._transport.send("POST", api_path("tokens"), body=body)
        )

    def revoke_token(self, token_id: str) -> None:
        """End one of the caller's tokens."""
        self._transport.send("DELETE", api_path("tokens", token_id))

    def rotate_token(self, token_id: str) -> NewToken:
        """End one of the caller's tokens and make one like it in its place."""
        path = api_path("tokens", token_id, "rotate")
        return one(NewToken, self._transport.send("POST", path))


class UsersApi:
    """Users, for admins."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def tokens(self, user_id: str) -> list[TokenInfo]:
        """A user's API tokens."""
        path = api_path("users", user_id, "tokens")
        return many(TokenInfo, self._transport.send("GET", path))

    def list(self) -> list[User]:
        """All users."""
        return many(User, self._transport.send("GET", api_path("users")))

    def create(self, body: UserInput) -> User:
        """A new user."""
        return one(User, self._transport.send("POST", api_path("users"), body=body))

    def get(self, user_id: str) -> User:
        """The user with this id."""
        return one(User, self._transport.send("GET", api_path("users", user_id)))

    def update(self, user_id: str, body: UserPatch) -> User:
        """Change a user; what ``body`` does not set stays."""
        path = api_path("users", user_id)
        return one(User, self._transport.send("PATCH", path, body=body))

    def disable(self, user_id: str) -> User:
        """Let none of a user's credentials open anything."""
        path = api_path("users", user_id, "disable")
        return one(User, self._transport.send("POST", path))

    def enable(self, user_id: str) -> User:
        """Let a user in again."""
        path = api_path("users", user_id, "enable")
        return one(User, self._transport.send("POST", path))

    def delete(self, user_id: str) -> None:
        """Delete a user who has never signed in."""
        self._transport.send("DELETE", api_path("users", user_id))

    def revoke_token(self, user_id: str, token_id: str) -> None:
        """End one of a user's API tokens."""
        self._transport.send("DELETE", api_path("users", user_id, "tokens", token_id))

    def create_token(self, user_id: str, body: ApiTokenInput) -> NewToken:
        """An API token for another user, to be handed to them."""
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

    def rename(self, id_or_name: str, body: OrganizationInput) -> Organization:
        """Change an organization's name."""
        path = api_path("organizations", id_or_name)
        return one(Organization, self._transport.send("PATCH", path, body=body))

    def permissions(self, id_or_name: str) -> Permissions:
        """What the caller may do in an organization beside its workspaces."""
        path = api_path("organizations", id_or_name, "permissions")
        return one(Permissions, self._transport.send("GET", path))
