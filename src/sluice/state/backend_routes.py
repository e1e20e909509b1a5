"""Routes of Terraform's `http` backend: GET, POST, DELETE, LOCK and UNLOCK on one address."""

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from sluice.auth.guard import check, require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import WorkspaceId
from sluice.edge.bodies import read_body
from sluice.state import backend
from sluice.state.actions import StateDeps
from sluice.state.backend import StateHeldError
from sluice.terraform.lock_info import MAX_BYTES, encode_lock_info

ADDRESS = "/workspaces/{workspace_id}/state-backend"

Planner = Annotated[Principal, Depends(require(Permission.PLAN))]
Applier = Annotated[Principal, Depends(require(Permission.APPLY))]
LockId = Annotated[str, Query(alias="ID")]
LOCKED: dict[int | str, dict[str, Any]] = {
    423: {
        "description": "Who holds the lock, as Terraform reads it.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def add_backend(router: APIRouter, deps: StateDeps) -> None:
    """Add the routes. LOCK and UNLOCK stay out of OpenAPI, which knows no such methods."""
    _add_state(router, deps)
    _add_locking(router, deps)


def _add_state(router: APIRouter, deps: StateDeps) -> None:
    @router.get(
        ADDRESS,
        response_class=Response,
        responses={204: {"description": "There is no state."}},
    )
    async def read_state(workspace_id: str, _: Planner) -> Response:
        """The present state; 204 where there is none."""
        content = await backend.read(deps, workspace_id=WorkspaceId(workspace_id))
        if content is None:
            return Response(status_code=204)
        return Response(
            content,
            media_type="application/json",
            headers={
                "content-md5": backend.content_md5(content),
                "cache-control": "no-store",
            },
        )

    @router.post(ADDRESS, response_class=Response, responses=LOCKED)
    async def write_state(
        workspace_id: str,
        request: Request,
        caller: Applier,
        lock_id: LockId = "",
        content_md5: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Store a new state; `ID` names the lock it is written under."""
        content = await read_body(request, limit=deps.max_bytes)
        backend.verify_md5(content, content_md5)
        return await _answer(
            backend.write(
                deps,
                workspace_id=WorkspaceId(workspace_id),
                content=content,
                actor=caller.actor,
                lock_id=lock_id,
            )
        )

    @router.delete(ADDRESS, response_class=Response, responses=LOCKED)
    async def delete_state(
        workspace_id: str, caller: Applier, lock_id: LockId = ""
    ) -> Response:
        """Forget the present state; earlier versions stay."""
        return await _answer(
            backend.delete(
                deps,
                workspace_id=WorkspaceId(workspace_id),
                actor=caller.actor,
                lock_id=lock_id,
            )
        )


def _add_locking(router: APIRouter, deps: StateDeps) -> None:
    @router.api_route(
        ADDRESS, methods=["LOCK"], response_class=Response, include_in_schema=False
    )
    async def lock_state(
        workspace_id: str, request: Request, caller: Planner
    ) -> Response:
        """Take the workspace's lock."""
        body = await read_body(request, limit=MAX_BYTES)
        return await _answer(
            backend.lock(
                deps,
                workspace_id=WorkspaceId(workspace_id),
                body=body,
                actor=caller.actor,
            )
        )

    @router.api_route(
        ADDRESS, methods=["UNLOCK"], response_class=Response, include_in_schema=False
    )
    async def unlock_state(
        workspace_id: str, request: Request, caller: Planner
    ) -> Response:
        """Free the lock; an empty body breaks another terraform's, which asks for more."""
        body = await read_body(request, limit=MAX_BYTES)
        if not body:
            check(caller, Permission.ADMIN_WORKSPACE)
        return await _answer(
            backend.unlock(
                deps,
                workspace_id=WorkspaceId(workspace_id),
                body=body,
                actor=caller.actor,
            )
        )


async def _answer(action: Awaitable[None]) -> Response:
    try:
        await action
    except StateHeldError as held:
        return Response(
            encode_lock_info(held.holder),
            status_code=423,
            media_type="application/json",
        )
    return Response(status_code=200)
