"""Routes of scripts that run outside agents (spec/5): begin, end, and records one by one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from sluice.auth.guard import permit, permit_named, require, visible_organizations
from sluice.auth.model import Place, PoolPrincipal, Principal, TaskPrincipal
from sluice.auth.permissions import Permission
from sluice.base.errors import ForbiddenError
from sluice.base.ids import OrganizationId, TaskId
from sluice.tasks import exec as exec_actions
from sluice.tasks.deps import TaskDeps
from sluice.wire.exec import ExecEnd, ExecRequest, ExecResponse, TaskName
from sluice.wire.shapes.records import RecordKept, RecordOrRecords, RecordsKept

Runner = Annotated[Principal, Depends(require(Permission.RUN_SCRIPT, late=True))]
Recorder = Annotated[Principal, Depends(require(Permission.WRITE_RECORDS))]
Holder = Annotated[Principal, Depends(require(Permission.TASK_DATA))]
Id = Annotated[TaskName, Path()]


def build_router(deps: TaskDeps) -> APIRouter:
    """All routes of runs outside agents."""
    router = APIRouter(prefix="/api/v1/tasks/{task_id}", tags=["exec"])
    _add_runs(router, deps)
    _add_records(router, deps)
    return router


def _add_runs(router: APIRouter, deps: TaskDeps) -> None:
    @router.post(
        "/exec",
        responses={
            409: {"description": "The task has ended, or another run holds it."}
        },
    )
    async def begin_exec(
        task_id: Id,
        given: ExecRequest,
        caller: Runner,
        request: Request,
        organization: Annotated[str | None, Query(max_length=90)] = None,
    ) -> ExecResponse:
        """Run a script as this task, which is made where it is not there.

        The same `run_id` is the same run again, with a fresh token. A user names the
        organization of a new task where there are several.
        """
        task, pool_id = TaskId(task_id), None
        if isinstance(caller, PoolPrincipal):
            owner, pool_id = caller.organization_id, caller.pool_id
            await permit(request, Place(owner))
        else:
            owner = await _owner(deps, request, task, organization)
        return await exec_actions.begin_exec(
            deps,
            organization_id=owner,
            task_id=task,
            wanted=given,
            actor=caller.actor,
            pool_id=pool_id,
        )

    @router.post("/exec/end")
    async def end_exec(task_id: str, given: ExecEnd, caller: Holder) -> dict[str, str]:
        """The script has ended, of a run whose log the server writes."""
        if not isinstance(caller, TaskPrincipal):
            raise ForbiddenError("A run ends with its own task token.")
        await exec_actions.end_exec(
            deps, task_id=TaskId(task_id), ended=given, caller=caller
        )
        return {}


async def _owner(
    deps: TaskDeps, request: Request, task_id: TaskId, wanted: str | None
) -> OrganizationId:
    """The organization in which a user may begin the run."""
    if wanted:
        await permit_named(request, organization=wanted)
    owner = await exec_actions.exec_organization(
        deps,
        task_id=task_id,
        wanted=wanted,
        visible=await visible_organizations(request),
    )
    if await exec_actions.lies_in(deps, task_id=task_id, organization_id=owner):
        await permit_named(request, task_id=task_id)
    elif not wanted:
        await permit(request, Place(owner))
    return owner


def _add_records(router: APIRouter, deps: TaskDeps) -> None:
    @router.post("/logs")
    async def post_records(
        task_id: str, given: RecordOrRecords, caller: Recorder
    ) -> RecordKept | RecordsKept:
        """Store one record or a list, in order; durable when this is answered."""
        records = given if isinstance(given, list) else [given]
        now = deps.clock.now()
        written = await exec_actions.post_records(
            deps,
            task_id=TaskId(task_id),
            records=[record.said(now) for record in records],
            caller=caller,
        )
        if isinstance(given, list):
            return RecordsKept(accepted=len(records), next_line=written.next_line)
        return RecordKept(id=f"{task_id}-{written.first_line}")
