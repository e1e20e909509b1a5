"""Routes of configuration versions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import StreamingResponse

from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.configs import actions
from sluice.configs.actions import ConfigDeps
from sluice.configs.model import ConfigurationVersion
from sluice.edge.bodies import body_to_file
from sluice.wire.shapes import configs as configs_shapes

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Planner = Annotated[Principal, Depends(require(Permission.PLAN))]


def build_router(deps: ConfigDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["configurations"])

    @router.post("/workspaces/{workspace_id}/configuration-versions", status_code=201)
    async def create_configuration_version(
        workspace_id: str, caller: Planner
    ) -> configs_shapes.ConfigurationVersion:
        """Announce an upload; `upload_url` says where to PUT the tar.gz."""
        made = await actions.create_configuration_version(
            deps, workspace_id=WorkspaceId(workspace_id), actor=caller.actor
        )
        return _resource(made)

    @router.get("/configuration-versions/{configuration_version_id}")
    async def get_configuration_version(
        configuration_version_id: str, _: Reader
    ) -> configs_shapes.ConfigurationVersion:
        """One configuration version."""
        found = await actions.get_configuration_version(
            deps,
            configuration_version_id=ConfigurationVersionId(configuration_version_id),
        )
        return _resource(found)

    _add_content(router, deps)
    return router


def _add_content(router: APIRouter, deps: ConfigDeps) -> None:
    @router.put("/configuration-versions/{configuration_version_id}/upload")
    async def upload(
        configuration_version_id: str, request: Request, _: Planner
    ) -> configs_shapes.ConfigurationVersion:
        """Upload the files as a tar.gz; refused with the reason where it is unsafe."""
        version_id = ConfigurationVersionId(configuration_version_id)
        await actions.expect_upload(deps, configuration_version_id=version_id)
        async with body_to_file(request, limit=deps.max_bytes) as body:
            uploaded = await actions.upload(
                deps, configuration_version_id=version_id, body=body
            )
        return _resource(uploaded)

    @router.get(
        "/configuration-versions/{configuration_version_id}/download",
        response_class=StreamingResponse,
    )
    async def download(configuration_version_id: str, _: Planner) -> StreamingResponse:
        """The files as they were uploaded; they may hold secrets."""
        pieces = await actions.open_archive(
            deps,
            configuration_version_id=ConfigurationVersionId(configuration_version_id),
        )
        name = f"{configuration_version_id}.tar.gz"
        return StreamingResponse(
            pieces,
            media_type="application/gzip",
            headers={
                "content-disposition": f'attachment; filename="{name}"',
                "cache-control": "no-store",
            },
        )


def _resource(version: ConfigurationVersion) -> configs_shapes.ConfigurationVersion:
    return configs_shapes.ConfigurationVersion(
        id=version.id,
        workspace_id=version.workspace_id,
        status=version.status,
        error=version.error,
        size_bytes=version.size_bytes,
        sha256=version.sha256,
        upload_url=f"/api/v1/configuration-versions/{version.id}/upload",
        created_at=version.created_at,
    )
