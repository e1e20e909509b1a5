"""Routes of scripts' logs as they are stored: history, status, and the whole as text."""

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sluice.auth.guard import guarded, permit, permit_named
from sluice.auth.model import Place
from sluice.auth.permissions import Permission
from sluice.base.errors import GoneError, InvalidInputError, NotFoundError
from sluice.base.ids import TaskId
from sluice.logs.records import install_messages, line_count, progress_at_end
from sluice.logs.script_dialects import progress_number
from sluice.scripts.actions import ScriptDeps, newest_task
from sluice.scripts.log_described import GETLOG, HISTORY, STATUS
from sluice.scripts.log_names import log_name
from sluice.scripts.log_streams import build_stream_routes, task_of_query
from sluice.scripts.owners import permitted_owner
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.log_texts import Wanted, parts_of
from sluice.tasks.model import Task
from sluice.tasks.output_query import whole_number
from sluice.tasks.ranged import ranged
from sluice.wire.progress import ProgressState
from sluice.wire.shapes.scripts import ScriptHistory, ScriptStatus
from sluice.wire.shapes.tasks import TaskStatus

GETLOG_PATH = "/v1/soft/getlog"
LIMIT = 1000
MOST = 10_000
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ScriptLogDeps:
    """What the routes work with; ``realtime``: whether logs are sent live."""

    scripts: ScriptDeps
    logs: LogApiDeps
    realtime: bool


def build_script_log_routes(deps: ScriptLogDeps) -> list[BaseRoute]:
    """All routes that show a script's log."""
    stored = StoredScriptLogs(deps)
    return [
        Route("/v1/log/history", stored.history),
        Route("/v1/log/status", stored.status),
        Route(GETLOG_PATH, stored.getlog),
        *build_stream_routes(deps.logs, realtime=deps.realtime),
    ]


class StoredScriptLogs:
    """The routes that answer at once."""

    def __init__(self, deps: ScriptLogDeps) -> None:
        self._scripts = deps.scripts
        self._tasks = deps.logs.tasks
        self._logs = deps.logs.logs
        read = Permission.READ
        self.history = guarded(read, described=HISTORY, late=True)(self._history)
        self.status = guarded(read, described=STATUS, late=True)(self._status)
        self.getlog = guarded(read, described=GETLOG, late=True)(self._getlog)

    async def _history(self, request: Request) -> Response:
        """Lines as messages, from any line on: what pages read that cannot follow live."""
        params = request.query_params
        offset = whole_number("offset", params.get("offset", "0"))
        limit = whole_number("limit", params.get("limit", str(LIMIT)))
        if not 1 <= limit <= MOST:
            raise InvalidInputError(
                f"limit is {limit}; give a number from 1 to {MOST}."
            )
        task = await self._asked(request)
        view = await self._logs.view(task.id)
        messages = await install_messages(view, offset, limit)
        found = ScriptHistory(
            messages, offset, offset + len(messages), await line_count(view)
        )
        return _json(_encode(found))

    async def _status(self, request: Request) -> Response:
        """How far a script is, also when its log is deleted."""
        task = await self._asked(request)
        try:
            state = await progress_at_end(await self._logs.view(task.id))
        except GoneError:
            state = ProgressState()
        return _json(_status_of(task, state).model_dump_json().encode())

    async def _getlog(self, request: Request) -> Response:
        """The whole log as text, for pages that poll; an ETag spares them what they have."""
        task = await self._named(request)
        view = await self._logs.view(task.id)
        return ranged(request, view, parts_of(task, view.record, Wanted.ALL))

    async def _asked(self, request: Request) -> Task:
        task_id = task_of_query(request)
        await permit_named(request, task_id=task_id)
        return await self._tasks.task(task_id)

    async def _named(self, request: Request) -> Task:
        """The task whose log `fn` names, or else the newest of the script `name`."""
        params = request.query_params
        fn = log_name("fn", params.get("fn", ""))
        key = log_name("name", params.get("name", ""))
        if not fn and not key:
            raise InvalidInputError(
                "fn is missing; give a task's id, or as name a script's key."
            )
        if fn:
            # a task's id may end with .log, too
            for task_id in dict.fromkeys((params["fn"], fn)):
                task = await self._task(request, TaskId(task_id))
                if task is not None:
                    return _of_script(task, key)
        owner = await permitted_owner(
            self._scripts, request, params.get("organization")
        )
        wanted = fn or key
        if key and wanted != key:
            raise NotFoundError(f"There is no log {wanted} of the script {key}.")
        return await self._tasks.task(
            await newest_task(self._scripts, owner=owner, key=wanted)
        )

    async def _task(self, request: Request, task_id: TaskId) -> Task | None:
        """The task, where it is there and the caller may know of it."""
        try:
            # first whether it is there: most often the name is that of a script
            task = await self._tasks.task(task_id)
            await permit(request, Place(task.organization_id, task.workspace_id))
        except NotFoundError:
            return None
        return task


def _of_script(task: Task, key: str) -> Task:
    if key and (task.script is None or task.script.key != key):
        raise NotFoundError(f"There is no log {task.id} of the script {key}.")
    return task


def _status_of(task: Task, state: ProgressState) -> ScriptStatus:
    done = task.status is TaskStatus.SUCCESS
    return ScriptStatus(
        status=task.status.value,
        progress=100 if done else progress_number(state),
        step=state.step,
        current_step=state.current_step,
        total_steps=state.total_steps,
        started_at=task.started_at,
        completed_at=task.completed_at,
        exit_code=task.exit_code,
    )


def _json(content: bytes) -> Response:
    return Response(
        content, media_type="application/json", headers={"cache-control": "no-store"}
    )
