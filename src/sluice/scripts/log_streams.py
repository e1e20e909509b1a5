"""WebSocket routes of scripts' logs: which lines, in which form, from where on."""

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, WebSocketRoute

from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.base.ids import TaskId
from sluice.logs.dialects import DialectName
from sluice.logs.tails import from_line
from sluice.scripts.log_described import (
    AGENT_STREAM,
    INSTALL_STREAM,
    RECORD_STREAM,
)
from sluice.tasks.log_facts import LogApiDeps
from sluice.tasks.output_query import Wish, task_id_of, whole_number
from sluice.tasks.output_socket import OutputSocket


def build_stream_routes(deps: LogApiDeps, *, realtime: bool) -> list[BaseRoute]:
    """`/v1/log/ws`, `/ws/logs` and `/ws/tasks/…`, for tasks of every kind.

    Without ``realtime`` the first refuses, and pages read over HTTP instead.
    """
    installer = install_wish if realtime else _no_realtime
    return [
        WebSocketRoute(
            "/v1/log/ws", OutputSocket(deps, installer, INSTALL_STREAM), name="install"
        ),
        WebSocketRoute(
            "/ws/logs", OutputSocket(deps, agent_wish, AGENT_STREAM), name="agent"
        ),
        WebSocketRoute(
            "/ws/tasks/{task_id}",
            OutputSocket(deps, record_wish, RECORD_STREAM),
            name="records",
        ),
    ]


def install_wish(connection: HTTPConnection) -> Wish:
    """All lines, or those behind `after`, with progress."""
    return _wish(connection, task_of_query(connection), DialectName.INSTALL, "after")


def agent_wish(connection: HTTPConnection) -> Wish:
    """All lines but the first `offset`."""
    return _wish(connection, task_of_query(connection), DialectName.AGENT, "offset")


def record_wish(connection: HTTPConnection) -> Wish:
    """All lines, or those behind `after`, as records."""
    return _wish(connection, task_id_of(connection), DialectName.SCRIPT, "after")


def task_of_query(connection: HTTPConnection) -> TaskId:
    """The task that the query names.

    Raises:
        InvalidInputError: it names none.
    """
    given = connection.query_params.get("task_id", "")
    if not given:
        raise InvalidInputError("task_id is missing; say whose log: ?task_id=…")
    return TaskId(given)


def _wish(
    connection: HTTPConnection, task_id: TaskId, dialect: DialectName, place: str
) -> Wish:
    params = connection.query_params
    after = whole_number(place, params.get(place, "0"))
    return Wish(task_id, dialect, from_line(after), params.get("ack") == "1")


def _no_realtime(connection: HTTPConnection) -> Wish:
    raise UnavailableError(
        "Live logs of scripts are switched off here (log_realtime_enabled); read"
        " /v1/log/history from the last line on instead."
    )
