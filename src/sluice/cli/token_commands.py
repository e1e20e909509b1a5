"""`sluice token …`: API tokens, one's own or another user's."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.cli.token_list import ExpiresInDays, one_token, show_tokens
from sluice.cli.user_commands import find_user
from sluice.wire.shapes.people import ApiTokenInput, Level, NewToken, ScopeInput

app = new_group("API tokens.")

OfUser = Annotated[
    str | None,
    typer.Option(
        "--user",
        metavar="USER",
        help="Whose token it is, by name or id, for administrators; else your own.",
    ),
]
TokenName = Annotated[
    str, typer.Argument(metavar="TOKEN", help="Name or id of the token.")
]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """How far a token is narrowed; not at all where nothing is given."""

    level: Annotated[
        Level | None, typer.Option("--level", help="The most it may do.")
    ] = None
    organization: Annotated[
        str | None,
        typer.Option(
            "--organization",
            metavar="NAME",
            help="The only organization that it opens.",
        ),
    ] = None
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace",
            metavar="WORKSPACE",
            help="The only workspaces that it opens, of that organization; may be"
            " repeated.",
        ),
    ] = None

    @property
    def scope(self) -> ScopeInput | None:
        """As the API takes it.

        Raises:
            InvalidInputError: workspaces are named without their organization.
        """
        if self.workspace and self.organization is None:
            raise InvalidInputError(
                "--workspace needs --organization: whose workspaces they are."
            )
        if not (self.level or self.organization or self.workspace):
            return None
        return ScopeInput(
            level=self.level or "admin",
            organization=self.organization,
            workspaces=self.workspace or None,
        )


@app.command("list")
@takes_records
def list_tokens(*, user: OfUser = None, session: Session) -> None:
    """List your own tokens, or a user's; what they are is never shown again."""
    if user is None:
        show_tokens(session, session.api.auth.tokens(), scopes=True)
        return
    owner = find_user(session.api, user)
    show_tokens(session, session.api.users.tokens(owner.id), scopes=True)


@app.command("create")
@takes_records
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called in lists.")
    ],
    *,
    expires_in_days: ExpiresInDays = None,
    narrowing: Narrowing,
    user: OfUser = None,
    session: Session,
) -> None:
    """Make a token; it is written to stdout, this once."""
    body = ApiTokenInput(
        name=name, expires_in_days=expires_in_days, scope=narrowing.scope
    )
    if user is None:
        created = session.api.auth.create_token(body)
    else:
        owner = find_user(session.api, user)
        created = session.api.users.create_token(owner.id, body)
    _show_new(session, created)


@app.command("rotate")
@takes_records
def rotate(token: TokenName, *, session: Session) -> None:
    """End one of your own tokens and make one like it; it is written to stdout, this once."""
    found = one_token(session.api.auth.tokens(), token, none=_none_of_own(token))
    _show_new(session, session.api.auth.rotate_token(found.id))


@app.command("revoke")
@takes_records
def revoke(token: TokenName, *, user: OfUser = None, session: Session) -> None:
    """End one of your own tokens, or a user's, at once and for good."""
    if user is None:
        found = one_token(session.api.auth.tokens(), token, none=_none_of_own(token))
        session.api.auth.revoke_token(found.id)
    else:
        owner = find_user(session.api, user)
        none = (
            f"{owner.name} has no token {token!r}; `sluice token list --user"
            f" {owner.name}` shows those there are."
        )
        found = one_token(session.api.users.tokens(owner.id), token, none=none)
        session.api.users.revoke_token(owner.id, found.id)
    if session.json:
        session.console.json({"id": found.id, "revoked": True})
        return
    session.console.good(f"Revoked token {found.name} ({found.id}).")


def _show_new(session: Session, created: NewToken) -> None:
    if session.json:
        session.console.json(created)
        return
    session.console.line(created.token)
    if created.expires_at is not None:
        session.console.hint(f"It ends on {created.expires_at:%Y-%m-%d}.")
    session.console.hint(
        f"Sign in with it: sluice login --url {session.settings.url}, or SLUICE_TOKEN=…"
    )


def _none_of_own(token: str) -> str:
    return f"You have no token {token!r}; `sluice token list` shows those there are."
