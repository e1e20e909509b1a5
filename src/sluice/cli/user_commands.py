"""`sluice user …`: who may use the server, for administrators."""

from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session
from sluice.client.api import Api
from sluice.wire.shapes.people import User, UserInput, UserPatch

app = new_group("Users, for administrators.")

UserName = Annotated[
    str, typer.Argument(metavar="USER", help="Name, id or e-mail address of the user.")
]
Email = Annotated[
    str | None,
    typer.Option("--email", metavar="ADDRESS", help="Where they get mail."),
]


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
        ["NAME", "ADMIN", "EMAIL", "STATE", "CREATED", "ID"],
        [
            [
                item.name,
                "yes" if item.admin else "-",
                item.email or "-",
                "disabled" if item.disabled_at else "enabled",
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
        typer.Option("--admin", help="May do everything on this server."),
    ] = False,
    email: Email = None,
    session: Session,
) -> None:
    """Make a new user, who belongs to no organization yet."""
    created = session.api.users.create(UserInput(name=name, admin=admin, email=email))
    if session.json:
        session.console.json(created)
        return
    kind = "administrator" if created.admin else "user"
    session.console.good(f"Created {kind} {created.name} ({created.id}).")
    session.console.hint(
        f"`sluice token create --user {created.name} NAME` makes a token to hand to them;"
        f" `sluice member add {created.name}` makes them a member."
    )


@app.command("show")
@takes_records
def show(user: UserName, *, session: Session) -> None:
    """Show a user."""
    found = find_user(session.api, user)
    if session.json:
        session.console.json(found)
        return
    now = session.clock.now()
    state = "enabled"
    if found.disabled_at is not None:
        state = f"disabled {words.ago(found.disabled_at, now)}"
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.id),
            ("Administrator", "yes" if found.admin else "no"),
            ("Email", found.email or "none"),
            ("State", state),
            ("Created", words.ago(found.created_at, now)),
        ]
    )


@app.command("update")
@takes_records
def update(
    user: UserName,
    *,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    email: Email = None,
    no_email: Annotated[
        bool, typer.Option("--no-email", help="Take the address away.")
    ] = False,
    admin: Annotated[
        bool | None,
        typer.Option("--admin/--no-admin", help="Whether they may do everything."),
    ] = None,
    session: Session,
) -> None:
    """Change a user; what is not given stays."""
    if email is not None and no_email:
        raise InvalidInputError("Give --email or --no-email, not both.")
    given = {"name": name, "email": email, "admin": admin}
    values: dict[str, object] = {
        key: value for key, value in given.items() if value is not None
    }
    if no_email:
        values["email"] = None
    if not values:
        raise InvalidInputError("Nothing to change was given; see --help.")
    patch = UserPatch.model_validate(values)
    found = find_user(session.api, user)
    _changed(session, session.api.users.update(found.id, patch), "Changed")


@app.command("disable")
@takes_records
def disable(user: UserName, *, session: Session) -> None:
    """Let none of a user's credentials open anything, from now on."""
    found = find_user(session.api, user)
    _changed(session, session.api.users.disable(found.id), "Disabled")


@app.command("enable")
@takes_records
def enable(user: UserName, *, session: Session) -> None:
    """Let a disabled user in again; their API tokens work again, too."""
    found = find_user(session.api, user)
    _changed(session, session.api.users.enable(found.id), "Enabled")


@app.command("delete")
@takes_records
def delete(user: UserName, *, session: Session) -> None:
    """Delete a user who never signed in; others are disabled, for history names them."""
    found = find_user(session.api, user)
    session.api.users.delete(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Deleted user {found.name}.")


def find_user(api: Api, wanted: str) -> User:
    """The user with this name, id or e-mail address.

    Raises:
        NotFoundError: there is none.
    """
    for user in api.users.list():
        if wanted in {user.name, user.id} or wanted.lower() == user.email:
            return user
    raise NotFoundError(
        f"There is no user {wanted!r}; `sluice user list` shows those there are."
    )


def _changed(session: Session, user: User, done: str) -> None:
    if session.json:
        session.console.json(user)
        return
    session.console.good(f"{done} user {user.name}.")
