"""Routes of teams and who is in them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from sluice.auth import actions, team_actions
from sluice.auth.actions import AuthDeps
from sluice.auth.guard import require, require_user
from sluice.auth.model import Principal, Team, TeamMember, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.base.ids import TeamId, UserId
from sluice.wire.shapes import teams as teams_shapes

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Keeper = Annotated[UserPrincipal, Depends(require_user(Permission.MANAGE_ORGANIZATION))]
_TAKEN: dict[int | str, dict[str, Any]] = {
    409: {"description": "The organization has a team of this name."}
}


def add_teams(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of teams into ``router``."""

    @router.get("/organizations/{id_or_name}/teams")
    async def list_teams(_: Reader, id_or_name: str) -> list[teams_shapes.Team]:
        """An organization's teams."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        teams = await team_actions.list_teams(deps, organization_id=found.id)
        return [_team(team) for team in teams]

    @router.post("/organizations/{id_or_name}/teams", status_code=201, responses=_TAKEN)
    async def create_team(
        _: Keeper, id_or_name: str, body: teams_shapes.TeamInput
    ) -> teams_shapes.Team:
        """A new team, without anybody in it."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        team = await team_actions.create_team(
            deps, organization_id=found.id, wanted=body
        )
        return _team(team)

    @router.get("/teams/{team_id}")
    async def get_team(_: Reader, team_id: str) -> teams_shapes.Team:
        """One team."""
        return _team(await team_actions.get_team(deps, team_id=TeamId(team_id)))

    @router.patch("/teams/{team_id}", responses=_TAKEN)
    async def change_team(
        _: Keeper, team_id: str, body: teams_shapes.TeamPatch
    ) -> teams_shapes.Team:
        """Change a team; what is absent stays."""
        team = await team_actions.change_team(deps, team_id=TeamId(team_id), patch=body)
        return _team(team)

    @router.delete("/teams/{team_id}", status_code=204)
    async def delete_team(_: Keeper, team_id: str) -> Response:
        """Delete a team and all that was granted to it."""
        await team_actions.delete_team(deps, team_id=TeamId(team_id))
        return Response(status_code=204)


def add_team_members(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of who is in a team into ``router``."""

    @router.get("/teams/{team_id}/members")
    async def list_team_members(
        _: Reader, team_id: str
    ) -> list[teams_shapes.TeamMember]:
        """The users in a team."""
        found = await team_actions.list_team_members(deps, team_id=TeamId(team_id))
        return [_team_member(member) for member in found]

    @router.post("/teams/{team_id}/members", status_code=201)
    async def add_team_member(
        _: Keeper, team_id: str, body: teams_shapes.TeamMemberInput
    ) -> teams_shapes.TeamMember:
        """Put a member of the organization into a team; who is in it stays by hand."""
        member = await team_actions.add_team_member(
            deps, team_id=TeamId(team_id), user=body.user
        )
        return _team_member(member)

    @router.delete("/teams/{team_id}/members/{user_id}", status_code=204)
    async def remove_team_member(_: Keeper, team_id: str, user_id: str) -> Response:
        """Take a user out of a team."""
        await team_actions.remove_team_member(
            deps, team_id=TeamId(team_id), user_id=UserId(user_id)
        )
        return Response(status_code=204)


def _team(team: Team) -> teams_shapes.Team:
    return teams_shapes.Team(
        id=team.id,
        organization_id=team.organization_id,
        name=team.name,
        permissions=sorted(
            teams_shapes.TeamPermission(item.value) for item in team.permissions
        ),
        level=None if team.level is None else team.level.value,
        sso_group=team.sso_group,
        created_at=team.created_at,
    )


def _team_member(member: TeamMember) -> teams_shapes.TeamMember:
    return teams_shapes.TeamMember(
        user_id=member.user.id, name=member.user.name, by_sso=member.by_sso
    )
