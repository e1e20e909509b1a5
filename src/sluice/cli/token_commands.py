"""`sluice token …`: API tokens, one's own or a first one for another user."""

from typing import Annotated

import typer

from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.cli.token_list import ExpiresInDays, one_token, show_tokens
from sluice.cli.user_commands import find_user
from sluice.wire.shapes.people import TokenInput

app = new_group("API tokens.")


@app.command("list")
@takes_records
def list_tokens(*, session: Session) -> None:
    """List your own tokens; what they are is never shown again."""
    show_tokens(session, session.api.auth.tokens())


@app.command("create")
@takes_records
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called in lists.")
    ],
    *,
    expires_in_days: ExpiresInDays = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="USER",
            help="Whose token it is, by name or id, for administrators; else your own.",
        ),
    ] = None,
    session: Session,
) -> None:
    """Make a token; it is written to stdout, this once."""
    body = TokenInput(name=name, expires_in_days=expires_in_days)
    if user is None:
        created = session.api.auth.create_token(body)
    else:
        owner = find_user(session.api, user)
        created = session.api.users.create_token(owner.id, body)
    if session.json:
        session.console.json(created)
        return
    session.console.line(created.token)
    session.console.hint(
        f"Sign in with it: sluice login --url {session.settings.url}, or SLUICE_TOKEN=…"
    )


@app.command("revoke")
@takes_records
def revoke(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Name or id of one of your tokens.")
    ],
    *,
    session: Session,
) -> None:
    """End one of your own tokens, at once and for good."""
    none = f"You have no token {token!r}; `sluice token list` shows those there are."
    found = one_token(session.api.auth.tokens(), token, none=none)
    session.api.auth.revoke_token(found.id)
    if session.json:
        session.console.json({"id": found.id, "revoked": True})
        return
    session.console.good(f"Revoked token {found.name} ({found.id}).")
