"""Routes of what a task would do, for people and for services that review it at a gate."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from sluice.auth.guard import require
from sluice.auth.model import Principal, ResultPrincipal
from sluice.auth.permissions import Permission
from sluice.base.errors import ForbiddenError, NotFoundError
from sluice.base.ids import TaskId
from sluice.tasks import actions, task_data
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import Task
from sluice.tasks.present import resource_changes
from sluice.wire.shapes import tasks as tasks_shapes

PIECE_BYTES = 256 * 1024
Reviewer = Annotated[Principal, Depends(require(Permission.REVIEW))]
Trusted = Annotated[Principal, Depends(require(Permission.REVIEW_SECRETS))]


def build_router(deps: TaskDeps) -> APIRouter:
    """Configuration and plan; a service gets those of its own task."""
    router = APIRouter(
        prefix="/api/v1/workspaces/{workspace_id}/tasks/{task_id}", tags=["tasks"]
    )

    @router.get("/plan-json", response_class=StreamingResponse)
    async def get_plan_json(
        workspace_id: str, task_id: str, caller: Trusted
    ) -> StreamingResponse:
        """The plan as `terraform show -json` gives it; it holds secrets in the clear."""
        task = await _task_of(deps, workspace_id, task_id, caller)
        content = await task_data.plan_json_of(deps, task=task)
        return StreamingResponse(
            _pieces(content),
            media_type="application/json",
            headers={"content-length": str(len(content)), "cache-control": "no-store"},
        )

    @router.get("/resource-changes")
    async def get_resource_changes(
        workspace_id: str, task_id: str, caller: Reviewer
    ) -> tasks_shapes.ResourceChanges:
        """What the plan changes; sensitive values read `(sensitive value)`."""
        task = await _task_of(deps, workspace_id, task_id, caller)
        return resource_changes(await task_data.plan_of(deps, task=task))

    @router.get("/configuration", response_class=StreamingResponse)
    async def get_configuration(
        workspace_id: str, task_id: str, caller: Trusted
    ) -> StreamingResponse:
        """The task's configuration as it was uploaded, a tar.gz."""
        task = await _task_of(deps, workspace_id, task_id, caller)
        pieces = await task_data.configuration_of(deps, task=task)
        return StreamingResponse(
            pieces,
            media_type="application/gzip",
            headers={"cache-control": "no-store"},
        )

    return router


async def _task_of(
    deps: TaskDeps, workspace_id: str, task_id: str, caller: Principal
) -> Task:
    if isinstance(caller, ResultPrincipal) and caller.task_id != task_id:
        raise ForbiddenError(
            f"{caller.actor} may read {caller.task_id} alone, and not {task_id[:80]}."
        )
    task = await actions.get_task(deps, task_id=TaskId(task_id))
    if task.workspace_id != workspace_id:
        raise NotFoundError(f"There is no task {task_id} in {workspace_id}.")
    return task


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """A large plan in pieces, so that a slow reader's buffer holds one of them."""
    view = memoryview(content)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])
