"""`sluice password …`: one's own password, and those of others for administrators."""

import sys
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.cli.sign_in_commands import typed_secret
from sluice.cli.user_commands import find_user
from sluice.wire.shapes.sign_in import PasswordChange, PasswordInput

app = new_group("Passwords of users.")


@app.callback()
def passwords() -> None:
    """Passwords of users."""


@app.command("set")
@takes_records
def set_password(
    user: Annotated[
        str | None,
        typer.Argument(
            metavar="[USER]",
            help="Whose, for administrators; your own without, which asks for the old one.",
        ),
    ] = None,
    *,
    session: Session,
) -> None:
    """Set a password; the user's other sessions end.

    Passwords are asked for, or read from stdin, one a line.
    """
    if user is None:
        old = typed_secret("Old password: ")
        session.api.sign_in.change_password(
            PasswordChange(old_password=old, new_password=_new())
        )
        whose = "Your password"
    else:
        found = find_user(session.api, user)
        session.api.sign_in.set_password(found.id, PasswordInput(new_password=_new()))
        whose = f"The password of {found.name}"
    if session.json:
        session.console.json({"changed": True})
        return
    session.console.good(f"{whose} is changed; other sessions have ended.")


def _new() -> str:
    new = typed_secret("New password: ")
    if sys.stdin.isatty() and typed_secret("The same again: ") != new:
        raise InvalidInputError("The two are not the same; nothing is changed.")
    return new
