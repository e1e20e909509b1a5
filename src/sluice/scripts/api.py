"""Routes of registered scripts: keep them, start them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import ScriptId
from sluice.scripts import actions
from sluice.scripts.actions import ScriptDeps
from sluice.scripts.model import Script
from sluice.scripts.owners import permitted_owner
from sluice.wire.shapes import scripts as shapes
from sluice.wire.shapes.scripts import InstallInput, ScriptInput, ScriptPatch

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Starter = Annotated[Principal, Depends(require(Permission.APPLY, late=True))]
Keeper = Annotated[Principal, Depends(require(Permission.MANAGE_SCRIPTS))]


def build_router(deps: ScriptDeps) -> APIRouter:
    """All routes of this package but those of logs."""
    router = APIRouter(tags=["scripts"])
    _add_registry(router, deps)
    _add_install(router, deps)
    return router


def _add_registry(router: APIRouter, deps: ScriptDeps) -> None:
    @router.get("/api/v1/organizations/{organization}/scripts")
    async def list_scripts(organization: str, _: Reader) -> list[shapes.Script]:
        """An organization's scripts by key."""
        found = await actions.list_scripts(deps, organization=organization)
        return [_resource(script) for script in found]

    @router.post("/api/v1/organizations/{organization}/scripts", status_code=201)
    async def create_script(
        organization: str, given: ScriptInput, caller: Keeper
    ) -> shapes.Script:
        """Register a script; from then on people start it by its key."""
        made = await actions.create_script(
            deps, organization=organization, wanted=given, actor=caller.actor
        )
        return _resource(made)

    @router.get("/api/v1/scripts/{script_id}")
    async def get_script(script_id: str, _: Reader) -> shapes.Script:
        """One script with its declared parameters."""
        found = await actions.get_script(deps, script_id=ScriptId(script_id))
        return _resource(found)

    @router.patch("/api/v1/scripts/{script_id}")
    async def change_script(
        script_id: str, given: ScriptPatch, _: Keeper
    ) -> shapes.Script:
        """Change a script; what runs already keeps what it has."""
        changed = await actions.change_script(
            deps, script_id=ScriptId(script_id), patch=given
        )
        return _resource(changed)

    @router.delete("/api/v1/scripts/{script_id}", status_code=204)
    async def delete_script(script_id: str, _: Keeper) -> None:
        """Forget a script; its tasks and their logs stay."""
        await actions.delete_script(deps, script_id=ScriptId(script_id))


def _add_install(router: APIRouter, deps: ScriptDeps) -> None:
    @router.post("/v1/soft/install")
    async def install(
        given: InstallInput, caller: Starter, request: Request
    ) -> shapes.Started:
        """Start a registered script; the answer comes before it runs."""
        owner = await permitted_owner(deps, request, given.organization)
        task = await actions.install(
            deps, owner=owner, wanted=given, actor=caller.actor
        )
        return shapes.Started(task_id=task.id)


def _resource(script: Script) -> shapes.Script:
    return shapes.Script(
        id=script.id,
        organization_id=script.organization_id,
        key=script.key,
        name=script.name,
        description=script.description,
        interpreter=list(script.interpreter),
        body=script.body,
        path=script.path,
        parameters=[
            shapes.ParameterInfo(
                **parameter.model_dump(),
                has_default=parameter.default is not None
                or parameter.name in script.sealed_defaults,
            )
            for parameter in script.parameters
        ],
        timeout_seconds=script.timeout_seconds,
        pool_id=script.pool_id,
        labels=dict(script.labels),
        last_task_id=script.last_task_id,
        created_by=script.created_by,
        created_at=script.created_at,
        updated_at=script.updated_at,
    )
