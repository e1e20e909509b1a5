"""Routes that a phase uses with its task token: configuration, state, plan, plan JSON."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from sluice.auth.guard import require
from sluice.auth.model import Principal, TaskPrincipal
from sluice.auth.permissions import Permission
from sluice.base.errors import ForbiddenError
from sluice.edge.bodies import read_body
from sluice.tasks import task_data
from sluice.tasks.deps import TaskDeps
from sluice.tasks.task_data import MAX_PLAN_BYTES

Caller = Annotated[Principal, Depends(require(Permission.TASK_DATA))]


def build_router(deps: TaskDeps) -> APIRouter:
    """All routes of a phase but the log upload."""
    router = APIRouter(prefix="/api/v1/tasks/{task_id}", tags=["phases"])
    _add_reads(router, deps)
    _add_writes(router, deps)
    return router


def _add_reads(router: APIRouter, deps: TaskDeps) -> None:
    @router.get("/configuration", response_class=StreamingResponse)
    async def get_configuration(task_id: str, caller: Caller) -> StreamingResponse:
        """The configuration as a tar.gz."""
        pieces = await task_data.open_configuration(
            deps, caller=_phase(caller, task_id)
        )
        return StreamingResponse(pieces, media_type="application/gzip")

    @router.get(
        "/state", responses={204: {"description": "The workspace has no state yet."}}
    )
    async def get_state(task_id: str, caller: Caller) -> Response:
        """The workspace's state."""
        content = await task_data.open_state(deps, caller=_phase(caller, task_id))
        if content is None:
            return Response(status_code=204)
        return Response(content, media_type="application/json")

    @router.get("/plan-file")
    async def get_plan(task_id: str, caller: Caller) -> Response:
        """The saved plan that the phase applies."""
        content = await task_data.open_plan(deps, caller=_phase(caller, task_id))
        return Response(content, media_type="application/octet-stream")


def _add_writes(router: APIRouter, deps: TaskDeps) -> None:
    @router.put("/state")
    async def put_state(
        task_id: str, caller: Caller, request: Request
    ) -> dict[str, str]:
        """Keep the state that an apply left; the same again changes nothing."""
        phase = _phase(caller, task_id)
        content = await read_body(request, limit=deps.states.max_bytes)
        await task_data.store_state(deps, caller=phase, content=content)
        return {}

    @router.put("/plan-file")
    async def put_plan(
        task_id: str, caller: Caller, request: Request
    ) -> dict[str, str]:
        """Keep the plan file."""
        phase = _phase(caller, task_id)
        content = await read_body(request, limit=MAX_PLAN_BYTES)
        await task_data.store_plan(deps, caller=phase, content=content)
        return {}

    @router.put("/plan-json")
    async def put_plan_json(
        task_id: str, caller: Caller, request: Request
    ) -> dict[str, str]:
        """Keep the plan as JSON and take its summary over."""
        phase = _phase(caller, task_id)
        content = await read_body(request, limit=MAX_PLAN_BYTES)
        await task_data.store_plan_json(deps, caller=phase, content=content)
        return {}


def _phase(caller: Principal, task_id: str) -> TaskPrincipal:
    """A task's token reads and writes that task alone."""
    if not isinstance(caller, TaskPrincipal) or caller.task_id != task_id:
        raise ForbiddenError(
            f"{caller.actor} may not use the data of {task_id}; only that task's own"
            " token may."
        )
    return caller
