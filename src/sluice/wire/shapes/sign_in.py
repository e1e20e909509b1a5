"""Signing in and out: passwords, sessions of pages, tickets."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Name, Resource

Password = Annotated[Secret, Field(min_length=1, max_length=1000)]
Login = Annotated[str, Field(min_length=1, max_length=254)]


class LoginInput(Input):
    """Who signs in: their name or e-mail address, and their password."""

    name: Login
    password: Password = Field(repr=False)


class TokenLoginInput(LoginInput):
    """Signs in for an API token of this name instead of a session."""

    token_name: Name
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class Session(Resource):
    """The session of a page, and whose it is.

    `csrf_token` goes into the header `X-CSRF-Token` of every request with the cookie that
    changes something; there is none where the caller came with a token.
    """

    user_id: str
    name: str
    admin: bool
    csrf_token: str | None = Field(default=None, repr=False)
    expires_at: datetime | None = None


class SessionInfo(Resource):
    """One of the caller's sessions; `current` is the one that asks."""

    id: str
    client: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    current: bool


class PasswordChange(Input):
    """The caller's own password, the old and the new one."""

    old_password: Password = Field(repr=False)
    new_password: Password = Field(repr=False)


class PasswordInput(Input):
    """A new password for a user, set by an administrator."""

    new_password: Password = Field(repr=False)


class Ticket(Resource):
    """Opens one WebSocket, as `?ticket=…`, once and soon."""

    ticket: str
    expires_at: datetime


class SignInMethods(Resource):
    """Which ways of signing in there are; `sso_name` is what a button may say."""

    password: bool
    sso: bool
    sso_name: str | None = None
    sso_url: str | None = None
