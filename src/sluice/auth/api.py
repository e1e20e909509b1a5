"""Routes of setup, tokens, users and organizations."""

from typing import Annotated, assert_never

from fastapi import APIRouter, Depends, Response

from sluice.auth import actions
from sluice.auth.actions import AuthDeps, IssuedToken
from sluice.auth.guard import guarded, require, require_user
from sluice.auth.model import (
    AgentPrincipal,
    Organization,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    StoredToken,
    TaskPrincipal,
    TokenKind,
    User,
    UserPrincipal,
)
from sluice.auth.policy import Permission
from sluice.base.ids import TokenId, UserId
from sluice.wire.shapes import people as people_shapes

Caller = Annotated[UserPrincipal, Depends(require_user(Permission.SIGNED_IN))]
Reader = Annotated[Principal, Depends(require(Permission.READ))]
Admin = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN))]


def build_router(deps: AuthDeps) -> APIRouter:
    """Routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["who"])
    _add_sign_in(router, deps)
    _add_tokens(router, deps)
    _add_users(router, deps)
    _add_organizations(router, deps)
    return router


def _add_sign_in(router: APIRouter, deps: AuthDeps) -> None:
    @router.post("/auth/setup", status_code=201)
    @guarded(Permission.PUBLIC)
    async def redeem_setup_token(
        body: people_shapes.SetupInput,
    ) -> people_shapes.NewToken:
        """Make the first admin with the token that the first start printed."""
        issued = await actions.redeem_setup_token(
            deps, secret=body.token, name=body.name
        )
        return new_token(issued)

    @router.post("/auth/token")
    async def issue_access_token(caller: Caller) -> people_shapes.AccessToken:
        """A JWT of the caller, good for 15 minutes."""
        token, expires_at = actions.issue_access_token(deps, principal=caller)
        return people_shapes.AccessToken(token=token, expires_at=expires_at)

    @router.get("/auth/me")
    async def me(
        principal: Annotated[Principal, Depends(require(Permission.WHOAMI))],
    ) -> people_shapes.Me:
        """Who the caller is."""
        return _me(principal)


def _add_tokens(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/tokens")
    async def list_tokens(caller: Caller) -> list[people_shapes.TokenInfo]:
        """The caller's own API tokens."""
        found = await actions.list_user_tokens(deps, user_id=caller.user_id)
        return [token_info(token) for token in found]

    @router.post("/tokens", status_code=201)
    async def create_token(
        caller: Caller, body: people_shapes.TokenInput
    ) -> people_shapes.NewToken:
        """A new API token of the caller's own."""
        issued = await actions.create_user_token(
            deps,
            user_id=caller.user_id,
            name=body.name,
            expires_in_days=body.expires_in_days,
        )
        return new_token(issued)

    @router.delete("/tokens/{token_id}", status_code=204)
    async def revoke_token(caller: Caller, token_id: str) -> Response:
        """End one of the caller's own API tokens."""
        await actions.revoke_user_token(
            deps, user_id=caller.user_id, token_id=TokenId(token_id)
        )
        return Response(status_code=204)


def _add_users(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/users")
    async def list_users(admin: Admin) -> list[people_shapes.User]:
        """All users."""
        return [_user(user) for user in await actions.list_users(deps)]

    @router.post("/users", status_code=201)
    async def create_user(
        admin: Admin, body: people_shapes.UserInput
    ) -> people_shapes.User:
        """A new user."""
        user = await actions.create_user(deps, name=body.name, admin=body.admin)
        return _user(user)

    @router.post("/users/{user_id}/tokens", status_code=201)
    async def create_users_token(
        admin: Admin, user_id: str, body: people_shapes.TokenInput
    ) -> people_shapes.NewToken:
        """A first API token for another user, to be handed to them."""
        issued = await actions.create_user_token(
            deps,
            user_id=UserId(user_id),
            name=body.name,
            expires_in_days=body.expires_in_days,
        )
        return new_token(issued)


def _add_organizations(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/organizations")
    async def list_organizations(reader: Reader) -> list[people_shapes.Organization]:
        """All organizations."""
        found = await actions.list_organizations(deps)
        return [_organization(organization) for organization in found]

    @router.post("/organizations", status_code=201)
    async def create_organization(
        admin: Admin, body: people_shapes.OrganizationInput
    ) -> people_shapes.Organization:
        """A new organization."""
        return _organization(await actions.create_organization(deps, name=body.name))

    @router.get("/organizations/{id_or_name}")
    async def get_organization(
        reader: Reader, id_or_name: str
    ) -> people_shapes.Organization:
        """One organization, by id or name."""
        found = await actions.get_organization(deps, id_or_name=id_or_name)
        return _organization(found)


def new_token(issued: IssuedToken) -> people_shapes.NewToken:
    """A new token as it is shown, this once."""
    token = issued.token
    return people_shapes.NewToken(
        id=token.id,
        name=token.name,
        token=issued.secret,
        user_id=token.subject_id if token.kind is TokenKind.USER else None,
        expires_at=token.expires_at,
    )


def token_info(token: StoredToken) -> people_shapes.TokenInfo:
    """A stored token as it is listed."""
    return people_shapes.TokenInfo(
        id=token.id,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )


def _user(user: User) -> people_shapes.User:
    return people_shapes.User(
        id=user.id, name=user.name, admin=user.admin, created_at=user.created_at
    )


def _organization(organization: Organization) -> people_shapes.Organization:
    return people_shapes.Organization(
        id=organization.id,
        name=organization.name,
        created_at=organization.created_at,
    )


def _me(principal: Principal) -> people_shapes.Me:
    match principal:
        case UserPrincipal(user_id, name, admin):
            return people_shapes.Me(id=user_id, name=name, kind="user", admin=admin)
        case PoolPrincipal(pool_id):
            return people_shapes.Me(
                id=pool_id, name=principal.actor, kind="pool", admin=False
            )
        case AgentPrincipal(agent_id):
            return people_shapes.Me(
                id=agent_id, name=principal.actor, kind="agent", admin=False
            )
        case TaskPrincipal(task_id):
            return people_shapes.Me(
                id=task_id, name=principal.actor, kind="task", admin=False
            )
        case ResultPrincipal(result_id):
            return people_shapes.Me(
                id=result_id, name=principal.actor, kind="run_task_result", admin=False
            )
        case _:
            assert_never(principal)
