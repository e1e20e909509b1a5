"""Reads what a viewer asks for from its request, and says what cannot be taken."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import HTTPConnection

from sluice.auth.model import Principal, UserPrincipal
from sluice.base.errors import InvalidInputError
from sluice.base.ids import TaskId
from sluice.edge.rate_limits import address_of
from sluice.logs.dialects import DialectName
from sluice.logs.tails import Start, from_line
from sluice.tasks.model import Task
from sluice.tasks.viewers import Visitor
from sluice.wire.shapes.tasks import TaskType


class StreamFormat(StrEnum):
    """How live lines are written."""

    LIVE = "live"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What a live stream shall bring.

    Attributes:
        after: the last line the viewer has; None for the last 1000 lines.
        form: one frame a line, or batches.
        acknowledges: whether the viewer says what it has drawn.
    """

    after: int | None
    form: StreamFormat
    acknowledges: bool


def stream_query(connection: HTTPConnection) -> StreamQuery:
    """The query of a live stream.

    Raises:
        InvalidInputError: a parameter cannot be taken.
    """
    params = connection.query_params
    given = params.get("format", StreamFormat.LIVE)
    try:
        form = StreamFormat(given)
    except ValueError:
        raise InvalidInputError(
            f"format is {given!r}; give `live` or `batch`."
        ) from None
    seen = connection.headers.get("last-event-id")
    asked = params.get("after")
    after = None if asked is None else whole_number("after", asked)
    return StreamQuery(
        after=whole_number("Last-Event-ID", seen) if seen else after,
        form=form,
        acknowledges=params.get("ack") == "1",
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """What a WebSocket shall bring: whose lines, in which form, from where on.

    ``acknowledges``: the viewer says what it has drawn.
    """

    task_id: TaskId
    dialect: DialectName
    start: Start
    acknowledges: bool = False


WishOf = Callable[[HTTPConnection], Wish]
"""How a route reads the wish off a request; it raises InvalidInputError."""

_DIALECTS = {
    StreamFormat.LIVE: DialectName.LIVE,
    StreamFormat.BATCH: DialectName.BATCH,
}


def output_wish(connection: HTTPConnection) -> Wish:
    """The wish of a viewer of spec/1: `format`, `after` and `ack` at a task's path."""
    query = stream_query(connection)
    return Wish(
        task_id_of(connection),
        _DIALECTS[query.form],
        from_line(query.after),
        query.acknowledges,
    )


def whole_number(name: str, given: str) -> int:
    """A number from 0 on.

    Raises:
        InvalidInputError: it is none.
    """
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(2**63))):
        raise InvalidInputError(f"{name} is {given!r}; give a whole number from 0 on.")
    return int(given)


def task_id_of(connection: HTTPConnection) -> TaskId:
    """The task that the path names."""
    return TaskId(str(connection.path_params["task_id"]))


def visitor_of(connection: HTTPConnection, principal: Principal, task: Task) -> Visitor:
    """Who opens a stream, for its limits."""
    user = (
        principal.user_id if isinstance(principal, UserPrincipal) else principal.actor
    )
    address = address_of(connection.scope)
    script = task.task_type is TaskType.SCRIPT
    return Visitor(task.id, user, address, script=script)
