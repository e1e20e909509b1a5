"""`sluice organization …`: what owns workspaces, pools and teams."""

from typing import Annotated

import typer

from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.wire.shapes.people import OrganizationInput

app = new_group("Organizations: they own workspaces, pools and teams.")


@app.command("list")
@takes_records
def list_organizations(*, session: Session) -> None:
    """List the organizations you may see."""
    found = session.api.organizations.list()
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "You belong to no organization; an owner makes you a member of theirs."
        )
        return
    now = session.clock.now()
    session.console.table(
        ["NAME", "CREATED", "ID"],
        [[item.name, words.ago(item.created_at, now), item.id] for item in found],
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    session: Session,
) -> None:
    """Make an organization and become its owner, for administrators."""
    created = session.api.organizations.create(OrganizationInput(name=name))
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created organization {created.name} ({created.id}).")


@app.command("show")
@takes_records
def show(*, where: InOrganization, session: Session) -> None:
    """Show an organization, and what you may do in it."""
    found = organization_of(session, where)
    if session.json:
        session.console.json(found)
        return
    permissions = session.api.organizations.permissions(found.id).permissions
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.id),
            ("Created", words.ago(found.created_at, session.clock.now())),
            ("You may", ", ".join(permissions)),
        ]
    )


@app.command("rename")
@takes_records
def rename(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Change an organization's name."""
    found = organization_of(session, where)
    renamed = session.api.organizations.rename(found.id, OrganizationInput(name=name))
    if session.json:
        session.console.json(renamed)
        return
    session.console.good(f"Organization {found.name} is {renamed.name} now.")
