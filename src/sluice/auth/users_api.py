"""Routes of users, for administrators."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from sluice.auth import actions, user_actions
from sluice.auth.actions import AuthDeps
from sluice.auth.guard import require_user
from sluice.auth.model import User, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.base.ids import UserId
from sluice.wire.shapes import people as people_shapes

Admin = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN))]
_LAST: dict[int | str, dict[str, Any]] = {
    409: {"description": "The last administrator, or a name or an address is taken."}
}


def add_users(router: APIRouter, deps: AuthDeps) -> None:
    """Put the routes of users into ``router``."""
    _add_reads(router, deps)
    _add_changes(router, deps)


def _add_reads(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/users")
    async def list_users(_: Admin) -> list[people_shapes.User]:
        """All users."""
        return [user_resource(user) for user in await actions.list_users(deps)]

    @router.get("/users/{user_id}")
    async def get_user(_: Admin, user_id: str) -> people_shapes.User:
        """One user."""
        found = await user_actions.get_user(deps, user_id=UserId(user_id))
        return user_resource(found)


def _add_changes(router: APIRouter, deps: AuthDeps) -> None:
    @router.post("/users", status_code=201)
    async def create_user(
        _: Admin, body: people_shapes.UserInput
    ) -> people_shapes.User:
        """A new user."""
        user = await actions.create_user(
            deps, name=body.name, admin=body.admin, email=body.email
        )
        return user_resource(user)

    @router.patch("/users/{user_id}", responses=_LAST)
    async def change_user(
        _: Admin, user_id: str, body: people_shapes.UserPatch
    ) -> people_shapes.User:
        """Change a user's name, address, or whether they are an administrator."""
        changed = await user_actions.change_user(
            deps, user_id=UserId(user_id), patch=body
        )
        return user_resource(changed)

    @router.post("/users/{user_id}/disable", responses=_LAST)
    async def disable_user(_: Admin, user_id: str) -> people_shapes.User:
        """Let none of a user's credentials open anything; their sessions end."""
        changed = await user_actions.disable_user(deps, user_id=UserId(user_id))
        return user_resource(changed)

    @router.post("/users/{user_id}/enable")
    async def enable_user(_: Admin, user_id: str) -> people_shapes.User:
        """Let a user in again; their API tokens open what they opened before."""
        changed = await user_actions.enable_user(deps, user_id=UserId(user_id))
        return user_resource(changed)

    @router.delete(
        "/users/{user_id}",
        status_code=204,
        responses={409: {"description": "History names them, or they have to stay."}},
    )
    async def delete_user(_: Admin, user_id: str) -> Response:
        """Delete a user who has never signed in; others are disabled instead."""
        await user_actions.delete_user(deps, user_id=UserId(user_id))
        return Response(status_code=204)


def user_resource(user: User) -> people_shapes.User:
    """A user as administrators see them."""
    return people_shapes.User(
        id=user.id,
        name=user.name,
        admin=user.admin,
        created_at=user.created_at,
        email=user.email,
        disabled_at=user.disabled_at,
    )
