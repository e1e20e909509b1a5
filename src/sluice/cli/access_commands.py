"""`sluice access …`: what teams and users are granted in one workspace."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli.groups import new_group
from sluice.cli.member_commands import find_member
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    wanted_organization,
)
from sluice.cli.team_commands import find_team
from sluice.wire.shapes.people import Level
from sluice.wire.shapes.teams import GrantInput
from sluice.wire.shapes.workspaces import Workspace

app = new_group("Who may do what in one workspace.")

WorkspaceName = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Name or id of the workspace.")
]


@dataclass(frozen=True, slots=True)
class Grantee:
    """The team or the user that a grant is for."""

    team: Annotated[
        str | None, typer.Option("--team", metavar="TEAM", help="A team.")
    ] = None
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="USER", help="A member of the organization."),
    ] = None


@app.command("list")
@takes_records
def list_grants(
    workspace: WorkspaceName, *, where: InOrganization, session: Session
) -> None:
    """List what teams and users are granted in a workspace."""
    found = _workspace(session, workspace, where)
    grants = session.api.grants.list(found.id)
    if session.json:
        session.console.json(grants)
        return
    if not grants:
        session.console.hint(
            "Nothing is granted here: owners, and teams with a level in all"
            " workspaces, have theirs."
        )
        return
    session.console.table(
        ["NAME", "KIND", "LEVEL", "ID"],
        [
            [
                item.name,
                "team" if item.team_id else "user",
                item.level,
                item.team_id or item.user_id or "",
            ]
            for item in grants
        ],
    )


@app.command("grant")
@takes_records
def grant(
    workspace: WorkspaceName,
    level: Annotated[Level, typer.Argument(help="What they may do there.")],
    *,
    grantee: Grantee,
    where: InOrganization,
    session: Session,
) -> None:
    """Give a team or a user a level in a workspace, in place of the one they had."""
    found = _workspace(session, workspace, where)
    kind, subject_id = _subject(session, found, grantee)
    give = (
        session.api.grants.give_team if kind == "team" else session.api.grants.give_user
    )
    given = give(found.id, subject_id, GrantInput(level=level))
    if session.json:
        session.console.json(given)
        return
    session.console.good(
        f"The {kind} {given.name} has {given.level} in {found.name} now."
    )


@app.command("revoke")
@takes_records
def revoke(
    workspace: WorkspaceName,
    *,
    grantee: Grantee,
    where: InOrganization,
    session: Session,
) -> None:
    """Take away what a team or a user was given in a workspace."""
    found = _workspace(session, workspace, where)
    kind, subject_id = _subject(session, found, grantee)
    take = (
        session.api.grants.revoke_team
        if kind == "team"
        else session.api.grants.revoke_user
    )
    take(found.id, subject_id)
    if session.json:
        session.console.json({"id": subject_id, "revoked": True})
        return
    session.console.good(
        f"The {kind} {grantee.team or grantee.user} has no grant in {found.name} now."
    )


def _workspace(session: Session, wanted: str, where: InOrganization) -> Workspace:
    return find_workspace(
        session.api, wanted, organization=wanted_organization(session, where)
    )


def _subject(
    session: Session, workspace: Workspace, grantee: Grantee
) -> tuple[str, str]:
    """The kind and the id of who is named."""
    owner = workspace.organization_id
    match grantee:
        case Grantee(team=str(team), user=None):
            return "team", find_team(session.api, owner, team).id
        case Grantee(team=None, user=str(user)):
            return "user", find_member(session.api, owner, user).user_id
        case _:
            raise InvalidInputError("Give either --team or --user.")
