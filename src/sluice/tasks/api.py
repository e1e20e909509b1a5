"""Routes of tasks for people: make, look at, decide. Their logs have a module of their own."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from sluice.auth.guard import check, require, visible_workspaces
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.auth.policy import granted
from sluice.base.ids import TaskId, WorkspaceId
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page
from sluice.tasks import actions, task_data
from sluice.tasks.actions import TaskDeps, TaskListing
from sluice.tasks.ports import TaskFilter
from sluice.tasks.present import task_resource, task_row
from sluice.wire.shapes import states as states_shapes
from sluice.wire.shapes import tasks as tasks_shapes
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.tasks import TaskInput, TaskStatus, TaskType

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Finder = Annotated[Principal, Depends(require(Permission.FIND))]
Planner = Annotated[Principal, Depends(require(Permission.PLAN))]
Applier = Annotated[Principal, Depends(require(Permission.APPLY))]


async def _seen(request: Request, caller: Finder) -> TaskFilter:
    """The tasks of an organization that lists may show the caller."""
    return TaskFilter(
        visible=await visible_workspaces(request),
        in_no_workspace=Permission.READ in granted(caller),
    )


Seen = Annotated[TaskFilter, Depends(_seen)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]


def _page(limit: Limit = 20, offset: Offset = 0) -> Page:
    return Page(limit, offset)


Paging = Annotated[Page, Depends(_page)]


def build_router(deps: TaskDeps) -> APIRouter:
    """All routes for people but those of logs."""
    router = APIRouter(prefix="/api/v1", tags=["tasks"])
    _add_creation(router, deps)
    _add_lists(router, deps)
    _add_decisions(router, deps)
    _add_outputs(router, deps)
    return router


def _add_creation(router: APIRouter, deps: TaskDeps) -> None:
    @router.post("/workspaces/{workspace_id}/tasks", status_code=201)
    async def create_task(
        workspace_id: str, given: TaskInput, caller: Planner
    ) -> tasks_shapes.Task:
        """Put a task into the workspace's queue."""
        if given.task_type is not TaskType.PLAN:
            check(caller, Permission.APPLY)
        task = await actions.create_task(
            deps,
            workspace_id=WorkspaceId(workspace_id),
            wanted=given,
            actor=caller.actor,
        )
        return await _resource(deps, task.id)

    @router.get("/tasks/{task_id}")
    async def get_task(task_id: str, _: Reader) -> tasks_shapes.Task:
        """A task with its stages, who did what to it, and why it stands where it does."""
        return await _resource(deps, TaskId(task_id))


def _add_lists(router: APIRouter, deps: TaskDeps) -> None:
    @router.get("/workspaces/{workspace_id}/tasks")
    async def list_workspace_tasks(
        workspace_id: str,
        _: Reader,
        status: TaskStatus | None = None,
        task_type: TaskType | None = None,
        *,
        page: Paging,
    ) -> tasks_shapes.TaskList:
        """A workspace's tasks, newest first."""
        which = TaskFilter(
            workspace_id=WorkspaceId(workspace_id), status=status, task_type=task_type
        )
        found = await actions.list_workspace_tasks(
            deps, workspace_id=WorkspaceId(workspace_id), which=which, page=page
        )
        return _task_list(found, page)

    @router.get("/organizations/{organization}/tasks")
    async def list_organization_tasks(
        organization: str,
        seen: Seen,
        status: TaskStatus | None = None,
        task_type: TaskType | None = None,
        script: Annotated[str | None, Query(max_length=90)] = None,
        *,
        page: Paging,
    ) -> tasks_shapes.TaskList:
        """An organization's tasks, newest first; those of a script by its key.

        Tasks of workspaces that the caller may not read are not among them.
        """
        owner = await actions.find_organization(deps, organization=organization)
        which = replace(
            seen,
            organization_id=owner,
            status=status,
            task_type=task_type,
            script=script,
        )
        found = await actions.list_tasks(deps, which=which, page=page)
        return _task_list(found, page)


def _add_decisions(router: APIRouter, deps: TaskDeps) -> None:
    @router.post("/tasks/{task_id}/confirm")
    async def confirm(
        task_id: str, caller: Applier, given: ReasonInput | None = None
    ) -> tasks_shapes.Task:
        """Let a planned task apply."""
        await actions.confirm(
            deps, task_id=TaskId(task_id), actor=caller.actor, reason=_reason(given)
        )
        return await _resource(deps, TaskId(task_id))

    @router.post("/tasks/{task_id}/discard")
    async def discard(
        task_id: str, caller: Applier, given: ReasonInput | None = None
    ) -> tasks_shapes.Task:
        """End a planned task without applying it."""
        await actions.discard(
            deps, task_id=TaskId(task_id), actor=caller.actor, reason=_reason(given)
        )
        return await _resource(deps, TaskId(task_id))

    @router.post("/tasks/{task_id}/cancel")
    async def cancel(
        task_id: str, caller: Planner, given: ReasonInput | None = None
    ) -> tasks_shapes.Task:
        """Stop a task safely; one that may apply is stopped by who may apply."""
        task = await actions.get_task(deps, task_id=TaskId(task_id))
        if task.task_type is not TaskType.PLAN:
            check(caller, Permission.APPLY)
        await actions.cancel(
            deps, task_id=TaskId(task_id), actor=caller.actor, reason=_reason(given)
        )
        return await _resource(deps, TaskId(task_id))

    @router.post("/tasks/{task_id}/force-cancel")
    async def force_cancel(
        task_id: str, caller: Applier, given: ReasonInput | None = None
    ) -> tasks_shapes.Task:
        """Have a phase killed, whatever becomes of what it was doing."""
        await actions.force_cancel(
            deps, task_id=TaskId(task_id), actor=caller.actor, reason=_reason(given)
        )
        return await _resource(deps, TaskId(task_id))


def _add_outputs(router: APIRouter, deps: TaskDeps) -> None:
    @router.get("/tasks/{task_id}/outputs")
    async def get_outputs(task_id: str, _: Reader) -> list[states_shapes.OutputValue]:
        """The outputs that the task made, or would make."""
        task = await actions.get_task(deps, task_id=TaskId(task_id))
        return await task_data.outputs_of(deps, task=task)


async def _resource(deps: TaskDeps, task_id: TaskId) -> tasks_shapes.Task:
    return task_resource(await actions.get_task_details(deps, task_id=task_id))


def _task_list(found: TaskListing, page: Page) -> tasks_shapes.TaskList:
    return tasks_shapes.TaskList(
        tasks=[task_row(task, reason) for task, reason in found.tasks],
        total=found.total,
        limit=page.limit,
        offset=page.offset,
    )


def _reason(given: ReasonInput | None) -> str:
    return given.reason if given else ""
