"""Routes about signing in by password, and out."""

from sluice.client.answers import one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.people import NewToken
from sluice.wire.shapes.sign_in import (
    PasswordChange,
    PasswordInput,
    SignInMethods,
    TokenLoginInput,
)


class SignInApi:
    """Passwords, and the end of the credential that one came with."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def methods(self) -> SignInMethods:
        """Which ways of signing in there are; needs no token."""
        path = api_path("auth", "methods")
        return one(SignInMethods, self._transport.send("GET", path))

    def token(self, body: TokenLoginInput) -> NewToken:
        """A named API token for a name and a password; needs no token."""
        path = api_path("auth", "login", "token")
        return one(NewToken, self._transport.send("POST", path, body=body))

    def sign_out(self) -> None:
        """Revoke the token that this client has."""
        self._transport.send("POST", api_path("auth", "logout"))

    def change_password(self, body: PasswordChange) -> None:
        """Change the caller's own password."""
        self._transport.send("PUT", api_path("auth", "password"), body=body)

    def set_password(self, user_id: str, body: PasswordInput) -> None:
        """Set the password of a user, for administrators."""
        path = api_path("users", user_id, "password")
        self._transport.send("POST", path, body=body)
