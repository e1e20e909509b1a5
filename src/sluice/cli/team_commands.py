"""`sluice team …`: users of an organization who may do the same."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli.groups import new_group
from sluice.cli.member_commands import find_member
from sluice.cli.options import takes_records
from sluice.cli.session import InOrganization, Session, organization_of
from sluice.client.api import Api
from sluice.wire.shapes.people import Level
from sluice.wire.shapes.teams import (
    Team,
    TeamInput,
    TeamMemberInput,
    TeamPatch,
    TeamPermission,
)

app = new_group("Teams: users of an organization who may do the same.")

TeamName = Annotated[
    str, typer.Argument(metavar="TEAM", help="Name or id of the team.")
]


@dataclass(frozen=True, slots=True)
class TeamRules:
    """What a team may do; what is not given stays as it is."""

    permission: Annotated[
        list[TeamPermission] | None,
        typer.Option(
            "--permission",
            metavar="PERMISSION",
            help=f"In the organization; may be repeated: {', '.join(TeamPermission)}.",
        ),
    ] = None
    level: Annotated[
        Level | None,
        typer.Option("--level", help="In all workspaces, those to come too."),
    ] = None
    sso_group: Annotated[
        str | None,
        typer.Option(
            "--sso-group",
            metavar="GROUP",
            help="Who is in this group of the identity provider is put into the team.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """The rules that were given, by their names in the API."""
        named = {
            "permissions": self.permission or None,
            "level": self.level,
            "sso_group": self.sso_group,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class TeamLosses:
    """What is taken from a team."""

    no_permissions: Annotated[
        bool, typer.Option("--no-permissions", help="Take all permissions away.")
    ] = False
    no_level: Annotated[
        bool, typer.Option("--no-level", help="Take the level away.")
    ] = False
    no_sso_group: Annotated[
        bool, typer.Option("--no-sso-group", help="Take the group away.")
    ] = False

    def given(self) -> dict[str, Any]:
        """What the rules are then, by their names in the API."""
        taken: dict[str, tuple[Any, bool]] = {
            "permissions": ([], self.no_permissions),
            "level": (None, self.no_level),
            "sso_group": (None, self.no_sso_group),
        }
        return {name: value for name, (value, asked) in taken.items() if asked}


@app.command("list")
@takes_records
def list_teams(*, where: InOrganization, session: Session) -> None:
    """List the teams of an organization."""
    found = session.api.teams.list(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "There are no teams yet; `sluice team create NAME` makes one."
        )
        return
    session.console.table(
        ["NAME", "IN ALL WORKSPACES", "PERMISSIONS", "SSO GROUP", "ID"],
        [
            [
                item.name,
                item.level or "-",
                ", ".join(item.permissions) or "-",
                item.sso_group or "-",
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
    rules: TeamRules,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a new team, without anybody in it."""
    body = TeamInput(name=name, **rules.given())
    created = session.api.teams.create(organization_of(session, where).id, body)
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created team {created.name} ({created.id}).")
    session.console.hint(f"`sluice team add {created.name} USER` puts users into it.")


@app.command("show")
@takes_records
def show(team: TeamName, *, where: InOrganization, session: Session) -> None:
    """Show what a team may do, and who is in it."""
    found = find_team(session.api, organization_of(session, where).id, team)
    members = session.api.teams.members(found.id)
    if session.json:
        session.console.json(
            {
                **found.model_dump(mode="json"),
                "members": [member.model_dump(mode="json") for member in members],
            }
        )
        return
    names = [
        f"{member.name} (by single sign-on)" if member.by_sso else member.name
        for member in members
    ]
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.id),
            ("In all workspaces", found.level or "nothing"),
            ("Permissions", ", ".join(found.permissions) or "none"),
            ("SSO group", found.sso_group or "none"),
            ("Members", ", ".join(names) or "none"),
        ]
    )


@app.command("update")
@takes_records
def update(
    team: TeamName,
    *,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    rules: TeamRules,
    losses: TeamLosses,
    where: InOrganization,
    session: Session,
) -> None:
    """Change a team; what is not given stays, permissions are replaced together."""
    values, taken = rules.given(), losses.given()
    if both := sorted(values.keys() & taken.keys()):
        raise InvalidInputError(f"{', '.join(both)}: give one or take it, not both.")
    values |= taken
    if name is not None:
        values["name"] = name
    if not values:
        raise InvalidInputError("Nothing to change was given; see --help.")
    found = find_team(session.api, organization_of(session, where).id, team)
    changed = session.api.teams.update(found.id, TeamPatch(**values))
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"Changed team {changed.name}.")


@app.command("delete")
@takes_records
def delete(team: TeamName, *, where: InOrganization, session: Session) -> None:
    """Delete a team and all that was granted to it."""
    found = find_team(session.api, organization_of(session, where).id, team)
    session.api.teams.delete(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Deleted team {found.name}.")


@app.command("add")
@takes_records
def add(
    team: TeamName,
    user: Annotated[
        str,
        typer.Argument(metavar="USER", help="Name, id or e-mail address of a member."),
    ],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Put a member of the organization into a team."""
    found = find_team(session.api, organization_of(session, where).id, team)
    added = session.api.teams.add_member(found.id, TeamMemberInput(user=user))
    if session.json:
        session.console.json(added)
        return
    session.console.good(f"{added.name} is in the team {found.name} now.")


@app.command("remove")
@takes_records
def remove(
    team: TeamName,
    user: Annotated[
        str, typer.Argument(metavar="USER", help="Name or id of the user.")
    ],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Take a user out of a team."""
    owner = organization_of(session, where)
    found = find_team(session.api, owner.id, team)
    member = find_member(session.api, owner.id, user)
    session.api.teams.remove_member(found.id, member.user_id)
    if session.json:
        session.console.json({"user_id": member.user_id, "removed": True})
        return
    session.console.good(f"{member.name} is not in the team {found.name} any more.")


def find_team(api: Api, organization_id: str, wanted: str) -> Team:
    """The team with this name or id.

    Raises:
        NotFoundError: there is none.
    """
    for team in api.teams.list(organization_id):
        if wanted in {team.name, team.id}:
            return team
    raise NotFoundError(
        f"There is no team {wanted!r}; `sluice team list` shows those there are."
    )
