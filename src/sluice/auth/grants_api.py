"""Routes of what teams and users are granted in a workspace."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from sluice.auth import grant_actions
from sluice.auth.actions import AuthDeps
from sluice.auth.guard import place_of, require, require_user
from sluice.auth.model import NamedGrant, Principal, UserPrincipal, WorkspaceLevel
from sluice.auth.organizations_api import permissions_resource
from sluice.auth.permissions import Permission
from sluice.base.ids import TeamId, UserId, WorkspaceId
from sluice.wire.shapes import people as people_shapes
from sluice.wire.shapes import teams as teams_shapes

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Keeper = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN_WORKSPACE))]
_ACCESS = "/workspaces/{workspace_id}/access"


def add_grants(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of grants into ``router``."""
    _add_reads(router, deps)
    _add_to_teams(router, deps)
    _add_to_users(router, deps)


def _add_reads(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/workspaces/{workspace_id}/permissions")
    async def workspace_permissions(
        reader: Reader, workspace_id: str
    ) -> people_shapes.Permissions:
        """What the caller may do in the workspace."""
        return permissions_resource(reader)

    @router.get(_ACCESS)
    async def list_grants(_: Keeper, workspace_id: str) -> list[teams_shapes.Grant]:
        """What teams and users are granted in the workspace.

        Owners, and teams that have a level in all workspaces, are not in it.
        """
        found = await grant_actions.list_grants(
            deps, workspace_id=WorkspaceId(workspace_id)
        )
        return [_grant(one) for one in found]


def _add_to_teams(router: APIRouter, deps: AuthDeps) -> None:
    @router.put(_ACCESS + "/teams/{team_id}")
    async def grant_to_team(
        _: Keeper,
        request: Request,
        workspace_id: str,
        team_id: str,
        body: teams_shapes.GrantInput,
    ) -> teams_shapes.Grant:
        """Give a team a level in the workspace, in place of the one it had."""
        given = await grant_actions.grant_to_team(
            deps,
            place=place_of(request),
            team_id=TeamId(team_id),
            level=WorkspaceLevel(body.level),
        )
        return _grant(given)

    @router.delete(_ACCESS + "/teams/{team_id}", status_code=204)
    async def revoke_from_team(_: Keeper, workspace_id: str, team_id: str) -> Response:
        """Take away what a team was given in the workspace."""
        await grant_actions.revoke_grant(
            deps, workspace_id=WorkspaceId(workspace_id), subject_id=TeamId(team_id)
        )
        return Response(status_code=204)


def _add_to_users(router: APIRouter, deps: AuthDeps) -> None:
    @router.put(_ACCESS + "/users/{user_id}")
    async def grant_to_user(
        _: Keeper,
        request: Request,
        workspace_id: str,
        user_id: str,
        body: teams_shapes.GrantInput,
    ) -> teams_shapes.Grant:
        """Give a member a level in the workspace, in place of the one they had."""
        given = await grant_actions.grant_to_user(
            deps,
            place=place_of(request),
            user_id=UserId(user_id),
            level=WorkspaceLevel(body.level),
        )
        return _grant(given)

    @router.delete(_ACCESS + "/users/{user_id}", status_code=204)
    async def revoke_from_user(_: Keeper, workspace_id: str, user_id: str) -> Response:
        """Take away what a user was given in the workspace."""
        await grant_actions.revoke_grant(
            deps, workspace_id=WorkspaceId(workspace_id), subject_id=UserId(user_id)
        )
        return Response(status_code=204)


def _grant(one: NamedGrant) -> teams_shapes.Grant:
    return teams_shapes.Grant(
        name=one.name,
        level=one.grant.level.value,
        team_id=one.grant.team_id,
        user_id=one.grant.user_id,
    )
