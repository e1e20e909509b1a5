"""Routes of workspaces, their variables and their locks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from sluice.auth.guard import require, visible_workspaces
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import VariableId, WorkspaceId
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page
from sluice.wire.shapes import workspaces as workspaces_shapes
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.workspaces import (
    VariableInput,
    VariablePatch,
    WorkspaceInput,
    WorkspacePatch,
)
from sluice.workspaces import actions, variable_actions
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.model import Lock, Variable, Workspace

Finder = Annotated[Principal, Depends(require(Permission.FIND))]
Reader = Annotated[Principal, Depends(require(Permission.READ))]
Applier = Annotated[Principal, Depends(require(Permission.APPLY))]
Creator = Annotated[Principal, Depends(require(Permission.CREATE_WORKSPACE))]
Keeper = Annotated[Principal, Depends(require(Permission.ADMIN_WORKSPACE))]


def build_router(deps: WorkspaceDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["workspaces"])
    _add_workspaces(router, deps)
    _add_locks(router, deps)
    _add_variables(router, deps)
    return router


def _add_workspaces(router: APIRouter, deps: WorkspaceDeps) -> None:
    @router.get("/organizations/{organization}/workspaces")
    async def list_workspaces(
        organization: str,
        _: Finder,
        request: Request,
        name: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> workspaces_shapes.WorkspaceList:
        """The workspaces that the caller may read, by name; `name` finds one."""
        found, total = await actions.list_workspaces(
            deps,
            organization=organization,
            page=Page(limit, offset),
            name=name,
            visible=await visible_workspaces(request),
        )
        return workspaces_shapes.WorkspaceList(
            workspaces=[workspace_resource(workspace) for workspace in found],
            total=total,
            limit=limit,
            offset=offset,
        )

    @router.post("/organizations/{organization}/workspaces", status_code=201)
    async def create_workspace(
        organization: str, given: WorkspaceInput, _: Creator
    ) -> workspaces_shapes.Workspace:
        """Make a workspace; the organization is named by its id or its name."""
        made = await actions.create_workspace(
            deps, organization=organization, given=given
        )
        return workspace_resource(made)

    @router.get("/workspaces/{workspace_id}")
    async def get_workspace(
        workspace_id: str, _: Reader
    ) -> workspaces_shapes.Workspace:
        """One workspace."""
        found = await actions.get_workspace(
            deps, workspace_id=WorkspaceId(workspace_id)
        )
        return workspace_resource(found)

    @router.patch("/workspaces/{workspace_id}")
    async def change_workspace(
        workspace_id: str, patch: WorkspacePatch, _: Keeper
    ) -> workspaces_shapes.Workspace:
        """Change settings; what is absent stays, `pool_id: null` takes the pool away."""
        changed = await actions.change_workspace(
            deps, workspace_id=WorkspaceId(workspace_id), patch=patch
        )
        return workspace_resource(changed)

    @router.delete("/workspaces/{workspace_id}", status_code=204)
    async def delete_workspace(
        workspace_id: str, _: Keeper, *, force: bool = False
    ) -> None:
        """Delete a workspace and all that belongs to it."""
        await actions.delete_workspace(
            deps, workspace_id=WorkspaceId(workspace_id), force=force
        )


def _add_locks(router: APIRouter, deps: WorkspaceDeps) -> None:
    @router.post("/workspaces/{workspace_id}/lock")
    async def lock(
        workspace_id: str, caller: Applier, given: ReasonInput | None = None
    ) -> workspaces_shapes.Workspace:
        """Take the lock by hand."""
        locked = await actions.lock_workspace(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            actor=caller.actor,
            reason=given.reason if given else "",
        )
        return workspace_resource(locked)

    @router.post("/workspaces/{workspace_id}/unlock")
    async def unlock(workspace_id: str, caller: Applier) -> workspaces_shapes.Workspace:
        """Give the lock back; only its holder can."""
        freed = await actions.unlock_workspace(
            deps, workspace_id=WorkspaceId(workspace_id), actor=caller.actor
        )
        return workspace_resource(freed)

    @router.post("/workspaces/{workspace_id}/force-unlock")
    async def force_unlock(
        workspace_id: str, caller: Keeper, given: ReasonInput | None = None
    ) -> workspaces_shapes.Workspace:
        """Free a lock that its holder does not give back."""
        freed = await actions.force_unlock_workspace(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            actor=caller.actor,
            reason=given.reason if given else "",
        )
        return workspace_resource(freed)


def _add_variables(router: APIRouter, deps: WorkspaceDeps) -> None:
    @router.get("/workspaces/{workspace_id}/variables")
    async def list_variables(
        workspace_id: str, _: Reader
    ) -> list[workspaces_shapes.Variable]:
        """A workspace's variables; sensitive ones without their values."""
        found = await variable_actions.list_variables(
            deps, workspace_id=WorkspaceId(workspace_id)
        )
        return [_variable(variable) for variable in found]

    @router.post("/workspaces/{workspace_id}/variables", status_code=201)
    async def add_variable(
        workspace_id: str, given: VariableInput, _: Keeper
    ) -> workspaces_shapes.Variable:
        """Add a variable."""
        added = await variable_actions.add_variable(
            deps, workspace_id=WorkspaceId(workspace_id), given=given
        )
        return _variable(added)

    @router.patch("/workspaces/{workspace_id}/variables/{variable_id}")
    async def change_variable(
        workspace_id: str, variable_id: str, patch: VariablePatch, _: Keeper
    ) -> workspaces_shapes.Variable:
        """Change a variable; what is absent stays."""
        changed = await variable_actions.change_variable(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            variable_id=VariableId(variable_id),
            patch=patch,
        )
        return _variable(changed)

    @router.delete(
        "/workspaces/{workspace_id}/variables/{variable_id}", status_code=204
    )
    async def delete_variable(workspace_id: str, variable_id: str, _: Keeper) -> None:
        """Remove a variable."""
        await variable_actions.delete_variable(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            variable_id=VariableId(variable_id),
        )


def workspace_resource(workspace: Workspace) -> workspaces_shapes.Workspace:
    """A workspace as the API shows it."""
    return workspaces_shapes.Workspace(
        id=workspace.id,
        organization_id=workspace.organization_id,
        name=workspace.name,
        execution_mode=workspace.execution_mode,
        auto_apply=workspace.auto_apply,
        working_directory=workspace.working_directory,
        terraform_version=workspace.terraform_version,
        engine=workspace.engine,
        pool_id=workspace.pool_id,
        labels=dict(workspace.labels),
        lock=None if workspace.lock is None else _lock(workspace.lock),
        state_diverged=workspace.state_diverged,
        created_at=workspace.created_at,
    )


def _lock(lock: Lock) -> workspaces_shapes.Lock:
    return workspaces_shapes.Lock(
        id=lock.id,
        holder=lock.holder,
        kind=lock.kind,
        reason=lock.reason,
        locked_at=lock.locked_at,
    )


def _variable(variable: Variable) -> workspaces_shapes.Variable:
    return workspaces_shapes.Variable(
        id=variable.id,
        workspace_id=variable.workspace_id,
        key=variable.key,
        value=None if variable.sensitive else variable.value,
        category=variable.category,
        hcl=variable.hcl,
        sensitive=variable.sensitive,
        description=variable.description,
        updated_at=variable.updated_at,
    )
