"""Users, organizations and their tokens."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Name, Resource

Level = Literal["read", "plan", "apply", "admin"]
"""What somebody may do in a workspace; each level holds all before it."""

Email = Annotated[
    str,
    Field(max_length=254, pattern=r"^[A-Za-z0-9._%+'-]+@[A-Za-z0-9][A-Za-z0-9.-]*$"),
]
NameOrId = Annotated[str, Field(min_length=1, max_length=254)]


class SetupInput(Input):
    """Redeems the one-time token that the first start printed."""

    token: Secret = Field(repr=False)
    name: Name = "admin"


class TokenInput(Input):
    """A new token; without an end it lives until it is revoked."""

    name: Name
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class ScopeInput(Input):
    """How far a new API token is narrowed; it never opens more than its user may.

    `level` is the most it may do, `organization` (by name or id) the only one it opens,
    and `workspaces` (by name or id, of that organization) the only ones there.
    """

    level: Level = "admin"
    organization: NameOrId | None = None
    workspaces: list[NameOrId] | None = Field(
        default=None, min_length=1, max_length=100
    )


class ApiTokenInput(TokenInput):
    """A new API token of a user; without a scope it may do all that the user may."""

    scope: ScopeInput | None = None


class TokenScope(Resource):
    """How far a token is narrowed; None narrows nothing."""

    level: Level
    organization_id: str | None = None
    workspace_ids: list[str] | None = None


class NewToken(Resource):
    """An API token, shown this once; only its hash is kept."""

    id: str
    name: str
    token: str = Field(repr=False)
    user_id: str | None = None
    expires_at: datetime | None = None
    scope: TokenScope | None = None


class TokenInfo(Resource):
    """An API or pool token without its secret."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    scope: TokenScope | None = None


class AccessToken(Resource):
    """A short-lived JWT of the caller."""

    token: str = Field(repr=False)
    expires_at: datetime


class Me(Resource):
    """Who the caller is, and what they may do beside any organization."""

    id: str
    name: str
    kind: str
    admin: bool
    permissions: list[str] = Field(default=[])


class UserInput(Input):
    """A new user."""

    name: Name
    admin: bool = False
    email: Email | None = None


class UserPatch(Input):
    """Changes to a user; what is absent stays, and a null `email` takes it away."""

    name: Name | None = None
    admin: bool | None = None
    email: Email | None = None


class User(Resource):
    """A user; none of their credentials opens anything while they are disabled."""

    id: str
    name: str
    admin: bool
    created_at: datetime
    email: str | None = None
    disabled_at: datetime | None = None


class OrganizationInput(Input):
    """A new organization."""

    name: Name


class Organization(Resource):
    """An organization owns workspaces and pools."""

    id: str
    name: str
    created_at: datetime


class Permissions(Resource):
    """What the caller may do at a place, by the names that routes declare."""

    permissions: list[str]
