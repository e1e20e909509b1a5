"""Routes of organizations and their members."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from sluice.auth import actions, member_actions
from sluice.auth.access import Access
from sluice.auth.actions import AuthDeps
from sluice.auth.guard import require, require_user
from sluice.auth.model import Member, Organization, Principal, Role, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.policy import granted
from sluice.base.ids import UserId
from sluice.wire.shapes import people as people_shapes
from sluice.wire.shapes import teams as teams_shapes

Caller = Annotated[UserPrincipal, Depends(require_user(Permission.SIGNED_IN))]
Finder = Annotated[Principal, Depends(require(Permission.FIND))]
Reader = Annotated[Principal, Depends(require(Permission.READ))]
Admin = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN))]
Keeper = Annotated[UserPrincipal, Depends(require_user(Permission.MANAGE_ORGANIZATION))]
_TAKEN: dict[int | str, dict[str, Any]] = {409: {"description": "The name is taken."}}
_LAST: dict[int | str, dict[str, Any]] = {
    409: {"description": "They are the last owner."}
}


def add_organizations(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of organizations into ``router``."""

    @router.get("/organizations")
    async def list_organizations(
        caller: Caller, request: Request
    ) -> list[people_shapes.Organization]:
        """The organizations that the caller may know of."""
        access: Access = request.app.state.access
        visible = await access.visible_organizations(caller)
        return [
            organization_resource(organization)
            for organization in await actions.list_organizations(deps)
            if visible is None or organization.id in visible
        ]

    @router.post("/organizations", status_code=201, responses=_TAKEN)
    async def create_organization(
        admin: Admin, body: people_shapes.OrganizationInput
    ) -> people_shapes.Organization:
        """A new organization; the caller becomes its owner."""
        created = await actions.create_organization(
            deps, name=body.name, owner_id=admin.user_id
        )
        return organization_resource(created)

    @router.get("/organizations/{id_or_name}")
    async def get_organization(
        _: Finder, id_or_name: str
    ) -> people_shapes.Organization:
        """One organization, by id or name."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        return organization_resource(found)

    @router.patch("/organizations/{id_or_name}", responses=_TAKEN)
    async def rename_organization(
        _: Keeper, id_or_name: str, body: people_shapes.OrganizationInput
    ) -> people_shapes.Organization:
        """Change an organization's name."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        renamed = await actions.rename_organization(
            deps, organization_id=found.id, name=body.name
        )
        return organization_resource(renamed)

    @router.get("/organizations/{id_or_name}/permissions")
    async def organization_permissions(
        reader: Finder, id_or_name: str
    ) -> people_shapes.Permissions:
        """What the caller may do in the organization beside its workspaces."""
        return permissions_resource(reader)


def add_members(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of an organization's members into ``router``."""

    @router.get("/organizations/{id_or_name}/members")
    async def list_members(_: Reader, id_or_name: str) -> list[teams_shapes.Member]:
        """All members of an organization."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        members = await member_actions.list_members(deps, organization_id=found.id)
        return [_member(member) for member in members]

    @router.post(
        "/organizations/{id_or_name}/members",
        status_code=201,
        responses={409: {"description": "They are a member already."}},
    )
    async def add_member(
        _: Keeper, id_or_name: str, body: teams_shapes.MemberInput
    ) -> teams_shapes.Member:
        """Make a user a member of an organization."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        member = await member_actions.add_member(
            deps, organization_id=found.id, user=body.user, role=Role(body.role)
        )
        return _member(member)

    @router.patch("/organizations/{id_or_name}/members/{user_id}", responses=_LAST)
    async def change_member(
        _: Keeper, id_or_name: str, user_id: str, body: teams_shapes.MemberPatch
    ) -> teams_shapes.Member:
        """Change what a member is."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        member = await member_actions.change_member(
            deps,
            organization_id=found.id,
            user_id=UserId(user_id),
            role=Role(body.role),
        )
        return _member(member)

    @router.delete(
        "/organizations/{id_or_name}/members/{user_id}",
        status_code=204,
        responses=_LAST,
    )
    async def remove_member(_: Keeper, id_or_name: str, user_id: str) -> Response:
        """Take a user out of an organization and its teams, and their grants away."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        await member_actions.remove_member(
            deps, organization_id=found.id, user_id=UserId(user_id)
        )
        return Response(status_code=204)


def organization_resource(organization: Organization) -> people_shapes.Organization:
    """An organization as it is shown."""
    return people_shapes.Organization(
        id=organization.id,
        name=organization.name,
        created_at=organization.created_at,
    )


def permissions_resource(principal: Principal) -> people_shapes.Permissions:
    """What the caller may do at the place of the request."""
    return people_shapes.Permissions(
        permissions=sorted(permission.value for permission in granted(principal))
    )


def _member(member: Member) -> teams_shapes.Member:
    return teams_shapes.Member(
        user_id=member.user.id,
        name=member.user.name,
        role=member.role.value,
        disabled=member.user.disabled_at is not None,
        created_at=member.created_at,
    )
