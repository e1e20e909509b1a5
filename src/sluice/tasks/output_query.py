"""Reads what a viewer asks for from its request, and says what cannot be taken."""

from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import HTTPConnection

from sluice.auth.guard import Authenticates, authorize, check
from sluice.auth.model import Principal, UserPrincipal
from sluice.auth.policy import Permission
from sluice.base.errors import InvalidInputError
from sluice.base.ids import TaskId
from sluice.tasks.viewers import Visitor

BEARER_PROTOCOL = "bearer."


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
    name, after = ("Last-Event-ID", seen) if seen else ("after", params.get("after"))
    return StreamQuery(
        after=None if after is None else whole_number(name, after),
        form=form,
        acknowledges=params.get("ack") == "1",
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


def visitor_of(connection: HTTPConnection, principal: Principal) -> Visitor:
    """Who opens a stream, for its limits."""
    user = (
        principal.user_id if isinstance(principal, UserPrincipal) else principal.actor
    )
    address = connection.client.host if connection.client else ""
    return Visitor(task_id_of(connection), user, address)


async def authenticate(connection: HTTPConnection) -> Principal:
    """The caller of a WebSocket, who may read.

    Browsers cannot set a header on a WebSocket: there the token comes as the
    sub-protocol `bearer.TOKEN`.

    Raises:
        UnauthorizedError: there is no valid token.
        ForbiddenError: the caller may not read.
    """
    offered = bearer_protocol(connection)
    if offered is None or "authorization" in connection.headers:
        return await authorize(connection, Permission.READ)
    authenticator: Authenticates = connection.app.state.authenticator
    principal = await authenticator.authenticate(offered.removeprefix(BEARER_PROTOCOL))
    check(principal, Permission.READ)
    return principal


def bearer_protocol(connection: HTTPConnection) -> str | None:
    """The sub-protocol that carries a token, where one is offered."""
    offered: list[str] = connection.scope.get("subprotocols", [])
    for protocol in offered:
        if protocol.startswith(BEARER_PROTOCOL):
            return protocol
    return None


def chosen_protocol(connection: HTTPConnection) -> str | None:
    """The sub-protocol to answer with: never the token, where anything else is offered."""
    offered: list[str] = connection.scope.get("subprotocols", [])
    named = [one for one in offered if not one.startswith(BEARER_PROTOCOL)]
    return named[0] if named else bearer_protocol(connection)
