"""`sluice user …`: who may use the server, for administrators."""

from typing import Annotated

import typer

from sluice.base.errors import NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.client.api import Api
from sluice.wire.shapes.people import User, UserInput

app = new_group("Users, for administrators.")


@app.command("list")
@takes_records
def list_users(*, session: Session) -> None:
    """List all users."""
    found = session.api.users.list()
    if session.json:
        session.console.json(found)
        return
    now = session.clock.now()
    session.console.table(
        ["NAME", "ADMIN", "CREATED", "ID"],
        [
            [
                item.name,
                "yes" if item.admin else "-",
                words.ago(item.created_at, now),
                item.id,
            ]
            for item in found
        ],
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    admin: Annotated[
        bool,
        typer.Option("--admin", help="May also manage users, organizations and pools."),
    ] = False,
    session: Session,
) -> None:
    """Make a new user, who signs in with a token made by `sluice token create`."""
    created = session.api.users.create(UserInput(name=name, admin=admin))
    if session.json:
        session.console.json(created)
        return
    kind = "administrator" if created.admin else "user"
    session.console.good(f"Created {kind} {created.name} ({created.id}).")
    session.console.hint(
        f"`sluice token create --user {created.name} NAME` makes a token to hand to them."
    )


def find_user(api: Api, wanted: str) -> User:
    """The user with this name or id.

    Raises:
        NotFoundError: there is none.
    """
    for user in api.users.list():
        if wanted in {user.name, user.id}:
            return user
    raise NotFoundError(
        f"There is no user {wanted!r}; `sluice user list` shows those there are."
    )
