"""Routes of run tasks and their attachments."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from sluice.auth.guard import permit, permit_named, require, visible_organizations
from sluice.auth.model import Place, Principal
from sluice.auth.permissions import Permission
from sluice.base.ids import OrganizationId, RunTaskId, WorkspaceId, WorkspaceRunTaskId
from sluice.base.paging import MAX_LIMIT, Page
from sluice.runtasks import actions, attachments, verification
from sluice.runtasks.actions import RunTaskDeps
from sluice.runtasks.attachments import Attached
from sluice.runtasks.model import RunTask
from sluice.wire.shapes import run_tasks as shapes
from sluice.wire.shapes.run_tasks import (
    RunTaskChange,
    RunTaskInput,
    WorkspaceRunTaskChange,
    WorkspaceRunTaskInput,
)

Reader = Annotated[Principal, Depends(require(Permission.READ))]
LateReader = Annotated[Principal, Depends(require(Permission.READ, late=True))]
Keeper = Annotated[Principal, Depends(require(Permission.MANAGE_RUN_TASKS))]
Maker = Annotated[Principal, Depends(require(Permission.MANAGE_RUN_TASKS, late=True))]
PageNumber = Annotated[int, Query(ge=1, le=2**31)]
PageSize = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


def build_router(deps: RunTaskDeps) -> APIRouter:
    """All routes of definitions and attachments."""
    router = APIRouter(prefix="/api/v1", tags=["run tasks"])
    _add_definitions(router, deps)
    _add_attachments(router, deps)
    return router


def _add_definitions(router: APIRouter, deps: RunTaskDeps) -> None:
    @router.post("/run-tasks", status_code=201)
    async def create_run_task(
        given: RunTaskInput, caller: Maker, request: Request
    ) -> shapes.RunTask:
        """Make a run task: a service that may be asked at gates."""
        owner = await _permitted_owner(deps, request, given.organization_id)
        made = await actions.create_run_task(
            deps, owner=owner, wanted=given, actor=caller.actor
        )
        return shapes.RunTask(**_fields(made))

    @router.get("/run-tasks")
    async def list_run_tasks(
        _: LateReader,
        request: Request,
        organization_id: str | None = None,
        page: PageNumber = 1,
        page_size: PageSize = 20,
    ) -> shapes.RunTaskList:
        """An organization's run tasks by name; it is named by its id or its name."""
        owner = await _permitted_owner(deps, request, organization_id)
        rows, total = await actions.list_run_tasks(
            deps, owner=owner, page=_page(page, page_size)
        )
        return shapes.RunTaskList(
            run_tasks=[
                shapes.RunTaskRow(
                    **_fields(row.run_task), workspace_count=row.workspace_count
                )
                for row in rows
            ],
            pagination=shapes.Pagination(page=page, page_size=page_size, total=total),
        )

    @router.get("/run-tasks/{run_task_id}")
    async def get_run_task(run_task_id: str, _: Reader) -> shapes.RunTask:
        """One run task."""
        found = await actions.get_run_task(deps, run_task_id=RunTaskId(run_task_id))
        return shapes.RunTask(**_fields(found))

    @router.put("/run-tasks/{run_task_id}")
    async def change_run_task(
        run_task_id: str, given: RunTaskChange, caller: Keeper
    ) -> shapes.RunTask:
        """Change a run task; what is absent stays, tasks under way ask as they were."""
        changed = await actions.change_run_task(
            deps,
            run_task_id=RunTaskId(run_task_id),
            change=given,
            actor=caller.actor,
        )
        return shapes.RunTask(**_fields(changed))

    @router.delete(
        "/run-tasks/{run_task_id}",
        status_code=204,
        responses={409: {"description": "It is attached; the detail says where."}},
    )
    async def delete_run_task(
        run_task_id: str, caller: Keeper, *, force: bool = False
    ) -> None:
        """Forget a run task, with `force` its attachments too; its results stay."""
        await actions.delete_run_task(
            deps, run_task_id=RunTaskId(run_task_id), force=force, actor=caller.actor
        )

    @router.post("/run-tasks/{run_task_id}/test")
    async def test_run_task(run_task_id: str, caller: Keeper) -> shapes.RunTaskTest:
        """Send the service a verification call; the answer is its status alone."""
        verified = await verification.verify_run_task(
            deps, run_task_id=RunTaskId(run_task_id), actor=caller.actor
        )
        return shapes.RunTaskTest(
            status_code=verified.status_code,
            ok=verified.ok,
            message=verified.message,
        )


def _add_attachments(router: APIRouter, deps: RunTaskDeps) -> None:
    @router.post("/workspaces/{workspace_id}/run-tasks", status_code=201)
    async def attach_run_task(
        workspace_id: str, given: WorkspaceRunTaskInput, caller: Keeper
    ) -> shapes.WorkspaceRunTask:
        """Have a run task asked in a workspace, for tasks that are made from now on."""
        attached = await attachments.attach_run_task(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            wanted=given,
            actor=caller.actor,
        )
        return _attachment(attached)

    @router.get("/workspaces/{workspace_id}/run-tasks")
    async def list_workspace_run_tasks(
        workspace_id: str,
        _: Reader,
        page: PageNumber = 1,
        page_size: PageSize = MAX_LIMIT,
    ) -> shapes.WorkspaceRunTaskList:
        """A workspace's attachments by name and stage; global run tasks are not among them."""
        found, total = await attachments.list_attachments(
            deps, workspace_id=WorkspaceId(workspace_id), page=_page(page, page_size)
        )
        return shapes.WorkspaceRunTaskList(
            workspace_run_tasks=[_attachment(attached) for attached in found],
            pagination=shapes.Pagination(page=page, page_size=page_size, total=total),
        )

    @router.put("/workspaces/{workspace_id}/run-tasks/{workspace_run_task_id}")
    async def change_workspace_run_task(
        workspace_id: str,
        workspace_run_task_id: str,
        given: WorkspaceRunTaskChange,
        caller: Keeper,
    ) -> shapes.WorkspaceRunTask:
        """Change an attachment; what is absent stays, tasks under way keep theirs."""
        changed = await attachments.change_attachment(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            attachment_id=WorkspaceRunTaskId(workspace_run_task_id),
            change=given,
            actor=caller.actor,
        )
        return _attachment(changed)

    @router.delete(
        "/workspaces/{workspace_id}/run-tasks/{workspace_run_task_id}",
        status_code=204,
    )
    async def detach_run_task(
        workspace_id: str, workspace_run_task_id: str, caller: Keeper
    ) -> None:
        """Forget an attachment; tasks under way are not touched."""
        await attachments.detach_run_task(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            attachment_id=WorkspaceRunTaskId(workspace_run_task_id),
            actor=caller.actor,
        )


async def _permitted_owner(
    deps: RunTaskDeps, request: Request, wanted: str | None
) -> OrganizationId:
    """The organization that a request names, or the caller's only one; where they may do it."""
    if wanted:
        await permit_named(request, organization=wanted)
        return await actions.owner_of(deps, wanted=wanted)
    visible = await visible_organizations(request)
    owner = await actions.owner_of(deps, wanted=None, visible=visible)
    await permit(request, Place(owner))
    return owner


def _page(number: int, size: int) -> Page:
    return Page(limit=size, offset=(number - 1) * size)


def _fields(run_task: RunTask) -> dict[str, object]:
    """A run task as the API shows it: of its key only that there is one."""
    return {
        "run_task_id": run_task.id,
        "organization_id": run_task.organization_id,
        "name": run_task.name,
        "description": run_task.description,
        "endpoint_url": run_task.endpoint_url,
        "hmac_key_set": run_task.sealed_key is not None,
        "signature_prefix": run_task.signature_prefix,
        "enabled": run_task.enabled,
        "timeout_seconds": run_task.timeout_seconds,
        "is_global": run_task.is_global,
        "global_stages": list(run_task.global_stages),
        "global_level": run_task.global_level,
        "callback_allowed_cidrs": list(run_task.callback_allowed_cidrs),
        "team_id": run_task.team_id,
        "created_by": run_task.created_by,
        "created_at": run_task.created_at,
        "updated_at": run_task.updated_at,
    }


def _attachment(attached: Attached) -> shapes.WorkspaceRunTask:
    attachment, run_task = attached.attachment, attached.run_task
    return shapes.WorkspaceRunTask(
        workspace_run_task_id=attachment.id,
        workspace_id=attachment.workspace_id,
        run_task=shapes.RunTaskReference(
            run_task_id=run_task.id,
            name=run_task.name,
            description=run_task.description,
        ),
        stage=attachment.stage,
        enforcement_level=attachment.enforcement_level,
        enabled=attachment.enabled,
        created_at=attachment.created_at,
    )
