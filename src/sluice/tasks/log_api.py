"""Routes of a task's output: live over WebSocket, events or text, and all of it at any time."""

import codecs
from collections.abc import AsyncIterator, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute

from sluice.auth.guard import guarded, may_read
from sluice.auth.permissions import Permission
from sluice.base.clock import rfc3339
from sluice.base.errors import InvalidInputError
from sluice.logs.history import LogView
from sluice.tasks.log_described import DOWNLOAD, LOGS, STATS
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.log_records import asks_for_records, record_page
from sluice.tasks.log_texts import (
    Part,
    Piece,
    Wanted,
    download_text,
    names_of,
    parts_of,
    plain_text,
)
from sluice.tasks.model import Task
from sluice.tasks.output_http import OutputStreams
from sluice.tasks.output_query import task_id_of
from sluice.tasks.output_socket import OutputSocket
from sluice.tasks.present import duration_of
from sluice.tasks.ranged import ranged
from sluice.wire.shapes.streams import StreamStats

_TEXT = "text/plain; charset=utf-8"
_encode = msgspec.json.Encoder().encode


def build_log_routes(deps: LogApiDeps) -> list[BaseRoute]:
    """All routes that show a task's output."""
    streams = OutputStreams(deps)
    stored = StoredOutput(deps)
    task = "/api/v1/tasks/{task_id}"
    return [
        WebSocketRoute(f"{task}/output/stream", OutputSocket(deps)),
        Route(f"{task}/output/sse", streams.events),
        Route(f"{task}/output/follow", streams.follow),
        Route(f"{task}/logs", stored.logs),
        Route(f"{task}/logs/download", stored.download),
        Route("/api/v1/terraform/streams/stats", stored.stats),
    ]


class StoredOutput:
    """The routes of output as it is stored: for tasks that ended, and up to now."""

    def __init__(self, deps: LogApiDeps) -> None:
        self._deps = deps
        read = Permission.READ
        self.logs = guarded(read, described=LOGS)(self._logs)
        self.download = guarded(read, described=DOWNLOAD)(self._download)
        self.stats = guarded(Permission.SIGNED_IN, described=STATS)(self._stats)

    async def _logs(self, request: Request) -> Response:
        """The output as JSON, text, or a page of records."""
        if asks_for_records(request.query_params):
            _, view = await self._open(request)
            return await record_page(view, request.query_params)
        wanted = _wanted(request)
        form = request.query_params.get("format", "json")
        if form not in {"json", "text"}:
            raise InvalidInputError(
                f"format is {form!r}; give `json`, `text` or `records`."
            )
        task, view = await self._open(request)
        parts = parts_of(task, view.record, wanted)
        if form == "json":
            return StreamingResponse(
                _json(task, view, parts), media_type="application/json"
            )
        pieces = plain_text(await _with_ends(view, parts), task.error)
        return StreamingResponse(_shown(view, pieces), media_type=_TEXT)

    async def _download(self, request: Request) -> Response:
        """An attachment, whole or in ranges; `raw=true` gives the log's bytes alone."""
        task, view = await self._open(request)
        parts = parts_of(task, view.record, _wanted(request))
        pieces: Sequence[Piece] = parts
        name = f"task-{task.id}.log"
        if request.query_params.get("raw") != "true":
            pieces = download_text(task, await _with_ends(view, parts))
            name = f"task-{task.id}-logs.txt"
        return ranged(request, view, pieces, attachment=name)

    async def _stats(self, request: Request) -> Response:
        """What is followed on this server of what the caller may read."""
        streams = [
            stream
            for stream in self._deps.tails.stats().streams
            if await may_read(request, task_id=stream.task_id)
        ]
        stats = StreamStats(streams=streams, count=len(streams))
        return Response(stats.model_dump_json(), media_type="application/json")

    async def _open(self, request: Request) -> tuple[Task, LogView]:
        task_id = task_id_of(request)
        task = await self._deps.tasks.task(task_id)
        return task, await self._deps.logs.view(task_id)


def _wanted(request: Request) -> Wanted:
    given = request.query_params.get("type", Wanted.ALL)
    try:
        return Wanted(given)
    except ValueError:
        raise InvalidInputError(
            f"type is {given!r}; give `plan`, `apply`, `script` or `all`."
        ) from None


async def _with_ends(view: LogView, parts: Sequence[Part]) -> list[tuple[Part, bool]]:
    """Each part with whether it ends with a newline."""
    found = []
    for part in parts:
        last = b"\n"
        if part.size:
            async for piece in view.pieces(part.end - 1, part.end):
                last = piece
        found.append((part, last == b"\n"))
    return found


# --- JSON and text ------------------------------------------------------------


async def _json(
    task: Task, view: LogView, parts: Sequence[Part]
) -> AsyncIterator[bytes]:
    """One JSON object, written as the output is read."""
    head = {
        "task_id": task.id,
        "task_type": task.task_type,
        "status": task.status,
        "created_at": rfc3339(task.created_at),
        "completed_at": rfc3339(task.completed_at) if task.completed_at else None,
        "duration": duration_of(task),
    }
    yield _encode(head)[:-1] + b',"logs":{'
    by_name = {part.name: part for part in parts}
    for at, name in enumerate(names_of(task)):
        part = by_name.get(name)
        yield b'%b"%b":' % (b"," if at else b"", name.encode())
        if part is None:
            yield b"null"
        else:
            lines = await _line_count(view, part)
            yield b'{"output":"'
            async for text in _decoded(view, [part]):
                yield _encode(text)[1:-1]
            yield b'","line_count":%d,"size_bytes":%d}' % (lines, part.size)
    yield b"}}"


async def _line_count(view: LogView, part: Part) -> int:
    """Lines of a part, with a last one that has no newline."""
    if not part.size:
        return 0
    chunks = await view.read(part.end - 1, 1)
    last = chunks[0]
    before = last.data[: part.end - last.offset]
    next_line = last.first_line + before.count(b"\n")
    return next_line - part.first_line + (not before.endswith(b"\n"))


async def _shown(view: LogView, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
    """A text whose bytes are valid UTF-8, whatever the log's are."""
    async for text in _decoded(view, pieces):
        yield text.encode()


async def _decoded(view: LogView, pieces: Sequence[Piece]) -> AsyncIterator[str]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece.decode()
            continue
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        async for data in view.pieces(piece.start, piece.end):
            yield decode(data)
        yield decode(b"", final=True)
