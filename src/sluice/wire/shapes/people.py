"""Users, organizations and their tokens."""

from datetime import datetime

from pydantic import Field

from sluice.wire.shapes.base import Input, Name, Resource


class SetupInput(Input):
    """Redeems the one-time token that the first start printed."""

    token: str
    name: Name = "admin"


class NewToken(Resource):
    """An API token, shown this once; only its hash is kept."""

    id: str
    name: str
    token: str
    user_id: str | None = None
    expires_at: datetime | None = None


class TokenInput(Input):
    """A new API token of the caller's own."""

    name: Name
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class TokenInfo(Resource):
    """An API or pool token without its secret."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class AccessToken(Resource):
    """A short-lived JWT of the caller."""

    token: str
    expires_at: datetime


class Me(Resource):
    """Who the caller is."""

    id: str
    name: str
    kind: str
    admin: bool


class UserInput(Input):
    """A new user."""

    name: Name
    admin: bool = False


class User(Resource):
    """A user."""

    id: str
    name: str
    admin: bool
    created_at: datetime


class OrganizationInput(Input):
    """A new organization."""

    name: Name


class Organization(Resource):
    """An organization owns workspaces and pools."""

    id: str
    name: str
    created_at: datetime
