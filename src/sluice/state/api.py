"""Routes of state versions and outputs, and of Terraform's `http` backend."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import NotFoundError
from sluice.base.ids import StateVersionId, WorkspaceId
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page
from sluice.edge.bodies import read_body
from sluice.state import actions
from sluice.state.actions import StateDeps
from sluice.state.backend_routes import add_backend
from sluice.state.model import StateVersion
from sluice.wire.shapes import states as states_shapes

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Planner = Annotated[Principal, Depends(require(Permission.PLAN))]
Applier = Annotated[Principal, Depends(require(Permission.APPLY))]


def build_router(deps: StateDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["state"])
    _add_of_workspace(router, deps)
    _add_writes(router, deps)
    _add_versions(router, deps)
    add_backend(router, deps)
    return router


def _add_of_workspace(router: APIRouter, deps: StateDeps) -> None:
    @router.get("/workspaces/{workspace_id}/state-versions")
    async def list_state_versions(
        workspace_id: str,
        _: Reader,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> list[states_shapes.StateVersion]:
        """A workspace's state versions, newest first; one of size 0 says "deleted"."""
        found = await actions.list_state_versions(
            deps, workspace_id=WorkspaceId(workspace_id), page=Page(limit, offset)
        )
        return [_resource(version) for version in found]

    @router.get("/workspaces/{workspace_id}/state-versions/current")
    async def current_state_version(
        workspace_id: str, _: Reader
    ) -> states_shapes.StateVersion:
        """The workspace's present state."""
        found = await actions.current_state(
            deps, workspace_id=WorkspaceId(workspace_id)
        )
        if found is None:
            raise NotFoundError(f"Workspace {workspace_id} has no state.")
        return _resource(found)

    @router.get("/workspaces/{workspace_id}/outputs")
    async def list_outputs(
        workspace_id: str, _: Reader
    ) -> list[states_shapes.OutputValue]:
        """The present state's outputs; sensitive ones without their values."""
        return await actions.outputs(deps, workspace_id=WorkspaceId(workspace_id))


def _add_writes(router: APIRouter, deps: StateDeps) -> None:
    @router.post("/workspaces/{workspace_id}/state-versions", status_code=201)
    async def upload_state(
        workspace_id: str, request: Request, caller: Applier, *, force: bool = False
    ) -> states_shapes.StateVersion:
        """Store a state file; the body is the file as it is."""
        content = await read_body(request, limit=deps.max_bytes)
        stored = await actions.upload_state(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            content=content,
            actor=caller.actor,
            force=force,
        )
        return _resource(stored)

    @router.post(
        "/workspaces/{workspace_id}/state-versions/{state_version_id}/rollback",
        status_code=201,
    )
    async def roll_back(
        workspace_id: str, state_version_id: str, caller: Applier
    ) -> states_shapes.StateVersion:
        """Make an earlier state the present one, as a new version."""
        stored = await actions.roll_back(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            state_version_id=StateVersionId(state_version_id),
            actor=caller.actor,
        )
        return _resource(stored)


def _add_versions(router: APIRouter, deps: StateDeps) -> None:
    @router.get("/state-versions/{state_version_id}")
    async def get_state_version(
        state_version_id: str, _: Reader
    ) -> states_shapes.StateVersion:
        """One state version, without its content."""
        found = await actions.get_state_version(
            deps, state_version_id=StateVersionId(state_version_id)
        )
        return _resource(found)

    @router.get("/state-versions/{state_version_id}/download", response_class=Response)
    async def download_state(state_version_id: str, _: Planner) -> Response:
        """The state file as it was sent; it may hold secrets."""
        content = await actions.read_state(
            deps, state_version_id=StateVersionId(state_version_id)
        )
        return Response(
            content,
            media_type="application/json",
            headers={
                "content-disposition": f'attachment; filename="{state_version_id}.tfstate"',
                "cache-control": "no-store",
            },
        )


def _resource(version: StateVersion) -> states_shapes.StateVersion:
    return states_shapes.StateVersion(
        id=version.id,
        workspace_id=version.workspace_id,
        serial=version.serial,
        lineage=version.lineage,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        terraform_version=version.terraform_version,
        resource_count=version.resource_count,
        task_id=version.task_id,
        rollback_of=version.rollback_of,
        created_by=version.created_by,
        created_at=version.created_at,
    )
