"""`sluice member …`: who belongs to an organization."""

from typing import Annotated

import typer

from sluice.base.errors import NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.client.api import Api
from sluice.wire.shapes.teams import Member, MemberInput, MemberPatch, Role

app = new_group("Members of an organization: owners may do everything in it.")

MemberName = Annotated[
    str, typer.Argument(metavar="USER", help="Name or id of the member.")
]


@app.command("list")
@takes_records
def list_members(*, where: InOrganization, session: Session) -> None:
    """List the members of an organization."""
    found = session.api.members.list(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    now = session.clock.now()
    session.console.table(
        ["NAME", "ROLE", "STATE", "SINCE", "ID"],
        [
            [
                item.name,
                item.role,
                "disabled" if item.disabled else "enabled",
                words.ago(item.created_at, now),
                item.user_id,
            ]
            for item in found
        ],
    )


@app.command("add")
@takes_records
def add(
    user: Annotated[
        str,
        typer.Argument(metavar="USER", help="Name, id or e-mail address of a user."),
    ],
    *,
    role: Annotated[
        Role, typer.Option("--role", help="What they are in it.")
    ] = "member",
    where: InOrganization,
    session: Session,
) -> None:
    """Make a user a member of an organization."""
    owner = organization_of(session, where)
    added = session.api.members.add(owner.id, MemberInput(user=user, role=role))
    if session.json:
        session.console.json(added)
        return
    session.console.good(f"{added.name} is {_a(added.role)} of {owner.name} now.")


@app.command("role")
@takes_records
def change(
    user: MemberName,
    role: Annotated[Role, typer.Argument(help="What they are from now on.")],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Change what a member is."""
    owner = organization_of(session, where)
    found = find_member(session.api, owner.id, user)
    changed = session.api.members.update(
        owner.id, found.user_id, MemberPatch(role=role)
    )
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"{changed.name} is {_a(changed.role)} of {owner.name} now.")


@app.command("remove")
@takes_records
def remove(user: MemberName, *, where: InOrganization, session: Session) -> None:
    """Take a user out of an organization and its teams, and their grants away."""
    owner = organization_of(session, where)
    found = find_member(session.api, owner.id, user)
    session.api.members.remove(owner.id, found.user_id)
    if session.json:
        session.console.json({"user_id": found.user_id, "removed": True})
        return
    session.console.good(f"{found.name} is no member of {owner.name} any more.")


def find_member(api: Api, organization_id: str, wanted: str) -> Member:
    """The member with this name or id.

    Raises:
        NotFoundError: there is none.
    """
    for member in api.members.list(organization_id):
        if wanted in {member.name, member.user_id}:
            return member
    raise NotFoundError(
        f"There is no member {wanted!r}; `sluice member list` shows those there are."
    )


def _a(role: str) -> str:
    return f"an {role}" if role == "owner" else f"a {role}"
