"""Routes of late output: agents deliver it, people read it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from sluice.auth.guard import require
from sluice.auth.model import AgentPrincipal, Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import ForbiddenError
from sluice.base.ids import LeaseId, TaskId
from sluice.edge.bodies import read_body
from sluice.logs.incoming import MAX_PAYLOAD
from sluice.tasks import late_output
from sluice.tasks.deps import TaskDeps
from sluice.tasks.late_output import SeenLateOutput
from sluice.wire.late_output import LateAnswer
from sluice.wire.shapes import tasks as tasks_shapes

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Worker = Annotated[Principal, Depends(require(Permission.WORK))]


def build_router(deps: TaskDeps) -> APIRouter:
    """All routes of late output."""
    router = APIRouter(prefix="/api/v1", tags=["tasks"])
    _add_delivery(router, deps)
    _add_reads(router, deps)
    return router


def _add_delivery(router: APIRouter, deps: TaskDeps) -> None:
    @router.post(
        "/agents/{agent_id}/tasks/{task_id}/late-output",
        responses={409: {"description": "Bytes are missing before (`committed`)."}},
    )
    async def deliver_late_output(
        agent_id: str,
        task_id: str,
        lease_id: Annotated[str, Query()],
        caller: Worker,
        request: Request,
    ) -> LateAnswer:
        """Keep chunks that the agent captured before its lease ended.

        The body holds encoded chunks at the offsets that they had under the lease; an
        empty one asks where to go on. Sending it again changes nothing.
        """
        if not isinstance(caller, AgentPrincipal) or caller.agent_id != agent_id:
            raise ForbiddenError(f"The token is not that of {agent_id}.")
        return await late_output.take_late_output(
            deps,
            agent_id=caller.agent_id,
            task_id=TaskId(task_id),
            lease_id=LeaseId(lease_id),
            body=await read_body(request, limit=MAX_PAYLOAD),
        )


def _add_reads(router: APIRouter, deps: TaskDeps) -> None:
    @router.get("/tasks/{task_id}/late-output")
    async def list_late_output(
        task_id: str, _: Reader
    ) -> list[tasks_shapes.LateOutput]:
        """Output that came after its lease had ended; it is no part of the log."""
        found = await late_output.list_late_output(deps, task_id=TaskId(task_id))
        return [_shown(seen) for seen in found]

    @router.get("/tasks/{task_id}/late-output/{lease_id}", response_class=Response)
    async def read_late_output(task_id: str, lease_id: str, _: Reader) -> Response:
        """The bytes of one lease's late output."""
        content = await late_output.read_late_output(
            deps, task_id=TaskId(task_id), lease_id=LeaseId(lease_id)
        )
        return Response(content, media_type="text/plain; charset=utf-8")


def _shown(seen: SeenLateOutput) -> tasks_shapes.LateOutput:
    kept = seen.kept
    return tasks_shapes.LateOutput(
        lease_id=kept.lease_id,
        agent_id=kept.agent_id,
        agent_name=seen.agent_name,
        received_at=kept.received_at,
        bytes=kept.size,
        lines=kept.lines,
    )
