"""Routes of setup and tokens; brings those of users and organizations along."""

from typing import Annotated, assert_never

from fastapi import APIRouter, Depends, Request, Response

from sluice.auth import actions
from sluice.auth.actions import AuthDeps, IssuedToken
from sluice.auth.grants_api import add_grants
from sluice.auth.guard import check, guarded, require, require_user
from sluice.auth.model import (
    UNLIMITED,
    AgentPrincipal,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    Scope,
    StoredToken,
    TaskPrincipal,
    TokenKind,
    UserPrincipal,
)
from sluice.auth.narrowing import narrowed
from sluice.auth.organizations_api import (
    add_members,
    add_organizations,
    permissions_resource,
)
from sluice.auth.permissions import Permission
from sluice.auth.teams_api import add_team_members, add_teams
from sluice.auth.token_rotation import rotate_user_token
from sluice.auth.user_actions import get_user
from sluice.auth.users_api import add_users
from sluice.base.ids import TokenId, UserId
from sluice.wire.shapes import people as people_shapes

Caller = Annotated[UserPrincipal, Depends(require_user(Permission.SIGNED_IN))]
Owner = Annotated[UserPrincipal, Depends(require_user(Permission.MANAGE_OWN))]
Admin = Annotated[UserPrincipal, Depends(require_user(Permission.ADMIN))]


def build_router(deps: AuthDeps) -> APIRouter:
    """Routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["who"])
    _add_sign_in(router, deps)
    _add_tokens(router, deps)
    _add_others_tokens(router, deps)
    add_users(router, deps)
    add_organizations(router, deps)
    add_members(router, deps)
    add_teams(router, deps)
    add_team_members(router, deps)
    add_grants(router, deps)
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
        """Who the caller is, and what they may do beside any organization."""
        names = permissions_resource(principal).permissions
        return _me(principal).model_copy(update={"permissions": names})


def _add_tokens(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/tokens")
    async def list_tokens(caller: Caller) -> list[people_shapes.TokenInfo]:
        """The caller's own API tokens."""
        found = await actions.list_user_tokens(deps, user_id=caller.user_id)
        return [token_info(token) for token in found]

    @router.post("/tokens", status_code=201)
    async def create_token(
        owner: Owner, request: Request, body: people_shapes.ApiTokenInput
    ) -> people_shapes.NewToken:
        """A new API token of the caller's own, no wider than its scope."""
        scope = await narrowed(deps, request.app.state.access, owner, body.scope)
        issued = await actions.create_user_token(
            deps,
            user_id=owner.user_id,
            name=body.name,
            expires_in_days=body.expires_in_days,
            scope=scope,
        )
        return new_token(issued)

    @router.post("/tokens/{token_id}/rotate", status_code=201)
    async def rotate_token(owner: Owner, token_id: str) -> people_shapes.NewToken:
        """End one of the caller's own API tokens and make one like it in its place."""
        issued = await rotate_user_token(
            deps, user_id=owner.user_id, token_id=TokenId(token_id)
        )
        return new_token(issued)

    @router.delete("/tokens/{token_id}", status_code=204)
    async def revoke_token(caller: Caller, token_id: str) -> Response:
        """End one of the caller's own API tokens; a narrowed one ends itself alone."""
        if TokenId(token_id) != caller.credential_id:
            check(caller, Permission.MANAGE_OWN)
        await actions.revoke_user_token(
            deps, user_id=caller.user_id, token_id=TokenId(token_id)
        )
        return Response(status_code=204)


def _add_others_tokens(router: APIRouter, deps: AuthDeps) -> None:
    @router.get("/users/{user_id}/tokens")
    async def list_users_tokens(
        _: Admin, user_id: str
    ) -> list[people_shapes.TokenInfo]:
        """The API tokens of a user."""
        user = await get_user(deps, user_id=UserId(user_id))
        found = await actions.list_user_tokens(deps, user_id=user.id)
        return [token_info(token) for token in found]

    @router.post("/users/{user_id}/tokens", status_code=201)
    async def create_users_token(
        _: Admin, request: Request, user_id: str, body: people_shapes.ApiTokenInput
    ) -> people_shapes.NewToken:
        """An API token for another user, to be handed to them."""
        user = await get_user(deps, user_id=UserId(user_id))
        subject = UserPrincipal(user.id, user.name, user.admin)
        scope = await narrowed(deps, request.app.state.access, subject, body.scope)
        issued = await actions.create_user_token(
            deps,
            user_id=user.id,
            name=body.name,
            expires_in_days=body.expires_in_days,
            scope=scope,
        )
        return new_token(issued)

    @router.delete("/users/{user_id}/tokens/{token_id}", status_code=204)
    async def revoke_users_token(_: Admin, user_id: str, token_id: str) -> Response:
        """End one of a user's API tokens."""
        await actions.revoke_user_token(
            deps, user_id=UserId(user_id), token_id=TokenId(token_id)
        )
        return Response(status_code=204)


def new_token(issued: IssuedToken) -> people_shapes.NewToken:
    """A new token as it is shown, this once."""
    token = issued.token
    return people_shapes.NewToken(
        id=token.id,
        name=token.name,
        token=issued.secret,
        user_id=token.subject_id if token.kind is TokenKind.USER else None,
        expires_at=token.expires_at,
        scope=_scope(token.scope),
    )


def token_info(token: StoredToken) -> people_shapes.TokenInfo:
    """A stored token as it is listed."""
    return people_shapes.TokenInfo(
        id=token.id,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        scope=_scope(token.scope),
    )


def _scope(scope: Scope) -> people_shapes.TokenScope | None:
    if scope == UNLIMITED:
        return None
    inside = scope.workspace_ids
    return people_shapes.TokenScope(
        level=scope.level.value,
        organization_id=scope.organization_id,
        workspace_ids=None if inside is None else sorted(inside),
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
