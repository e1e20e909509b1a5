"""Routes by which agents upload a phase's log: a WebSocket, and PATCH where that is blocked."""

from collections.abc import Sequence

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from sluice.agents.upload import Upload, UploadDeps
from sluice.auth.guard import authorize, guarded, principal_of
from sluice.auth.model import AgentPrincipal, Principal, TaskPrincipal
from sluice.auth.permissions import Permission
from sluice.base.errors import (
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
)
from sluice.base.ids import LeaseId, TaskId
from sluice.edge.bodies import read_body
from sluice.edge.described import Content, Described, Parameter, upgraded
from sluice.edge.problems import problem_of
from sluice.logs.assembly import LogSystem
from sluice.logs.incoming import (
    MAX_PAYLOAD,
    PREFIX_SIZE,
    BrokenUploadError,
    split_upload,
)
from sluice.tasks.actions import (
    TaskDeps,
    command_for_task,
    get_lease,
    record_events,
    renew_lease,
)
from sluice.tasks.model import LeaseRecord
from sluice.wire.chunk import Chunk
from sluice.wire.log_flow import Ack, AckStatus, StreamMode

_STATUS = {
    AckStatus.OK: 200,
    AckStatus.REFUSED: 409,
    AckStatus.WRONG_EPOCH: 409,
    AckStatus.CLOSED: 410,
    AckStatus.CORRUPT: 400,
    AckStatus.FULL: 413,
}
_encode = msgspec.json.Encoder().encode

_MESSAGE = (
    "Epoch and offset (8 bytes each, little-endian), then chunks that follow each other, at"
    " most 1 MiB; without chunks it is a probe."
)
_LEASE = Parameter(
    "lease_id",
    "The lease that the phase's order names; a task token stands for its own.",
)
UPLOAD = Described(
    "Upload output over a WebSocket",
    upgraded(f"Binary messages up: {_MESSAGE} Texts down: `Ack`."),
    (
        Parameter("task_id", "Whose output it is.", required=True),
        _LEASE,
        Parameter(
            "stream_mode",
            "The agent's rhythm.",
            tuple(mode.value for mode in StreamMode),
        ),
    ),
    tag="agents",
)
PATCH = Described(
    "Upload output where WebSockets are blocked",
    {
        200: Content("Stored, or already there.", record=Ack),
        409: Content("The log stands elsewhere, or another writes it.", record=Ack),
        410: Content("The log has ended.", record=Ack),
        400: Content("A checksum does not fit; nothing is stored.", record=Ack),
        413: Content(
            "The log is full: what fits is stored, further output is dropped.",
            record=Ack,
        ),
    },
    (_LEASE,),
    Content(_MESSAGE, "application/octet-stream"),
    tag="agents",
)


class StoredPhases:
    """`upload.PhaseWork` on the tasks' own verbs."""

    def __init__(self, tasks: TaskDeps) -> None:
        self._tasks = tasks

    async def lease(self, lease_id: LeaseId) -> LeaseRecord:
        """A lease, present or past.

        Raises:
            NotFoundError: there is none with this id.
        """
        return await get_lease(self._tasks, lease_id=lease_id)

    async def renew(self, lease: LeaseRecord) -> None:
        """The phase was heard of."""
        await renew_lease(self._tasks, task_id=lease.task_id, lease_id=lease.id)

    async def record(self, lease: LeaseRecord, chunks: Sequence[Chunk]) -> None:
        """Events of the agent are durable now."""
        await record_events(self._tasks, task_id=lease.task_id, chunks=chunks)

    async def command(self, lease: LeaseRecord) -> str:
        """What the agent is asked to do."""
        return await command_for_task(self._tasks, task_id=lease.task_id)


def upload_deps(tasks: TaskDeps, logs: LogSystem) -> UploadDeps:
    """The upload routes' needs, from a server's parts."""
    return UploadDeps(
        logs.logs, logs.tails, StoredPhases(tasks), tasks.hub, tasks.clock
    )


def build_upload_routes(deps: UploadDeps) -> list[BaseRoute]:
    """Both ways of uploading."""
    return [
        WebSocketRoute("/ws/agent/logs", UploadSocket(deps)),
        Route(
            "/api/v1/tasks/{task_id}/log", UploadPatch(deps).endpoint, methods=["PATCH"]
        ),
    ]


class UploadSocket:
    """A phase's output on its way up: chunks from the agent, acknowledgements to it."""

    permission = Permission.TASK_DATA
    described = UPLOAD

    def __init__(self, deps: UploadDeps) -> None:
        self._deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket; refusals are HTTP answers before the upgrade."""
        connection = HTTPConnection(scope)
        try:
            principal = await authorize(connection, Permission.TASK_DATA)
            _check_mode(connection)
            task_id = TaskId(connection.query_params.get("task_id", ""))
            lease = await _lease(self._deps, connection, principal, task_id)
        except SluiceError as error:
            await problem_of(error)(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await Upload(self._deps, lease, send).run(receive)


class UploadPatch:
    """`PATCH /api/v1/tasks/{task_id}/log`: one message, one answer."""

    def __init__(self, deps: UploadDeps) -> None:
        self._deps = deps
        self.endpoint = guarded(Permission.TASK_DATA, described=PATCH)(self._patch)

    async def _patch(self, request: Request) -> Response:
        """Append the body's chunks, as over the WebSocket."""
        task_id = TaskId(str(request.path_params["task_id"]))
        lease = await _lease(self._deps, request, principal_of(request), task_id)
        body = await read_body(request, limit=PREFIX_SIZE + MAX_PAYLOAD)
        try:
            epoch, offset, payload = split_upload(body)
        except BrokenUploadError as error:
            raise InvalidInputError(f"The body is no upload: {error}.") from None
        work = self._deps.work
        pending = await self._deps.logs.offer(task_id, epoch, offset, payload)
        ack = await pending.ack()
        await work.renew(lease)
        if pending.events and ack.status in {AckStatus.OK, AckStatus.FULL}:
            await work.record(lease, pending.events)
        return _answer(msgspec.structs.replace(ack, command=await work.command(lease)))


def _answer(ack: Ack) -> Response:
    return Response(
        _encode(ack), status_code=_STATUS[ack.status], media_type="application/json"
    )


async def _lease(
    deps: UploadDeps, connection: HTTPConnection, principal: Principal, task_id: TaskId
) -> LeaseRecord:
    """The lease under which the caller uploads.

    Raises:
        InvalidInputError: the address does not say which.
        ForbiddenError: it is not one of this task.
        NotFoundError: there is no such lease, or another agent holds it.
    """
    lease_id = _lease_id(connection, principal, task_id)
    unknown = NotFoundError(
        f"There is no lease {lease_id}; give the one that the phase's order names."
    )
    try:
        lease = await deps.work.lease(lease_id)
    except NotFoundError:
        raise unknown from None
    if isinstance(principal, AgentPrincipal) and lease.agent_id != principal.agent_id:
        raise unknown
    if lease.task_id != task_id:
        raise ForbiddenError(
            f"The lease {lease.id} is not {principal.actor}'s for {task_id}; "
            "give the one that the phase's order names."
        )
    return lease


def _lease_id(
    connection: HTTPConnection, principal: Principal, task_id: TaskId
) -> LeaseId:
    """The lease that the address names, or else the caller's token."""
    if not task_id:
        raise InvalidInputError(
            "task_id is missing; say whose log it is: ?task_id=…&lease_id=…"
        )
    given = LeaseId(connection.query_params.get("lease_id", ""))
    match principal:
        case TaskPrincipal() if principal.task_id != task_id:
            raise ForbiddenError(
                f"The token is that of {principal.task_id}; it may not write the log of "
                f"{task_id}. Use the token of the phase's own order."
            )
        case TaskPrincipal() if given not in {"", principal.lease_id}:
            raise ForbiddenError(
                f"The token is that of the lease {principal.lease_id}, not of {given}; "
                "give that one as lease_id, or none."
            )
        case TaskPrincipal():
            return principal.lease_id
        case AgentPrincipal() if not given:
            raise InvalidInputError(
                "lease_id is missing; give the one that the phase's order names "
                "(?lease_id=…), or use the order's own token, which stands for it."
            )
        case AgentPrincipal():
            return given
        case _:
            raise ForbiddenError(
                f"{principal.actor} may not write the log of {task_id}."
            )


def _check_mode(connection: HTTPConnection) -> None:
    """The rhythm is the agent's own affair; a name nobody knows is a mistake."""
    given = connection.query_params.get("stream_mode", StreamMode.AUTO)
    try:
        StreamMode(given)
    except ValueError:
        raise InvalidInputError(
            f"stream_mode is {given!r}; give `auto`, `realtime` or `batch`."
        ) from None
