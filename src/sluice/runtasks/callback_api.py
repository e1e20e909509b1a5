"""The route by which services call back: raw, public, with the result's own token."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sluice.auth.credentials import bearer_of
from sluice.auth.guard import guarded
from sluice.auth.permissions import Permission
from sluice.base.clock import rfc3339
from sluice.base.ids import RunTaskResultId
from sluice.edge.bodies import read_body
from sluice.edge.described import Content, Described
from sluice.runtasks.callback_bodies import MAX_BODY_BYTES
from sluice.runtasks.callbacks import admit_callback, take_callback
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.model import Result

JSON_API = "application/vnd.api+json"
PATHS = (
    "/api/v1/task-results/{result_id}/callback",
    "/api/v1/run-task-results/{result_id}/callback",
)
_TAKEN = frozenset({"", JSON_API, "application/json"})
CALLBACK = Described(
    "Call back from a run task",
    {200: Content("The result as it is now, as a JSON:API document.", JSON_API)},
    body=Content(
        "HCP Terraform's `task-results` document with `status` (`running`, `passed` or"
        " `failed`), `message`, `url` and outcomes; or plain `{status, message, url,"
        " resource_results}`.",
        JSON_API,
    ),
    tag="run tasks",
)


def build_callback_routes(deps: AskingDeps) -> list[BaseRoute]:
    """The callback, under the two addresses it has."""
    endpoint = _endpoint(deps)
    return [Route(path, endpoint, methods=["PATCH"]) for path in PATHS]


def _endpoint(deps: AskingDeps) -> Any:
    @guarded(Permission.PUBLIC, described=CALLBACK)
    async def callback(request: Request) -> Response:
        """Report progress or a verdict; the bearer is the access token that came with the call.

        A `running` report puts the deadline off. `passed` and `failed` are final.
        """
        result_id = RunTaskResultId(request.path_params["result_id"])
        token = bearer_of(request)
        address = request.client.host if request.client else ""
        await admit_callback(deps, result_id=result_id, token=token, address=address)
        _check_type(request)
        content = await read_body(request, limit=MAX_BODY_BYTES)
        result = await take_callback(
            deps, result_id=result_id, token=token, content=content
        )
        return Response(
            msgspec.json.encode({"data": _document(result)}), media_type=JSON_API
        )

    return callback


def _check_type(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _TAKEN:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"A callback is {JSON_API} or application/json, not {media[:80]!r}.",
        )


def _document(result: Result) -> Mapping[str, Any]:
    """As HCP shows a result: services read it, or at least decode it."""
    stamps = {"running": result.started_at, result.status.value: result.completed_at}
    changed = result.completed_at or result.started_at or result.created_at
    return {
        "id": result.id,
        "type": "task-results",
        "attributes": {
            "status": result.status.value,
            "message": result.message,
            "url": result.url or None,
            "created-at": rfc3339(result.created_at),
            "updated-at": rfc3339(changed),
            "stage": result.stage.value,
            "status-timestamps": {
                f"{name}-at": rfc3339(at) for name, at in stamps.items() if at
            },
            "task-id": result.run_task_id,
            "task-name": result.name,
            "workspace-task-enforcement-level": result.level.value,
        },
        "relationships": {
            "task-stage": {"data": {"id": result.stage_id, "type": "task-stages"}}
        },
    }
