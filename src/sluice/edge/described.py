"""How a raw Starlette route stands in the OpenAPI document: said where the route is declared.

FastAPI reads the shape of its own routes from their signatures. A raw route says it by
`described`: `@guarded(Permission.READ, described=…)`, or as a class attribute beside
`permission` where the endpoint is an ASGI application. What it does is its docstring.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.routing import BaseRoute

ATTRIBUTE = "described"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query or a header; those of the path are found by themselves.

    Attributes:
        name: as it is sent.
        text: what it does.
        kind: what can be given: a text, a number, a yes, or one of these words.
        where: in which part of the request.
        required: whether it must be there.
    """

    name: str
    text: str
    kind: type[str] | type[int] | type[bool] | tuple[str, ...] = str
    where: Literal["query", "header"] = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A body, of a request or an answer.

    Attributes:
        text: what it is.
        media: its media type; empty where there is no body.
        record: the pydantic model or msgspec struct that it holds as JSON.
        or_media: another media type that it may have as text.
    """

    text: str
    media: str = ""
    record: type | None = None
    or_media: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """A raw route's place in the document.

    Attributes:
        summary: a few words, as in a list of contents.
        answers: what a success looks like, by status; problems are added for all routes.
        parameters: beside those of the path.
        body: what is sent.
        tag: under which heading it stands.
    """

    summary: str
    answers: Mapping[int, Content] = field(
        default_factory=lambda: {200: Content("Done.")}
    )
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None
    tag: str = "server"


def upgraded(text: str) -> Mapping[int, Content]:
    """The answers of a WebSocket; ``text`` says what its messages are."""
    return {101: Content(f"Upgraded to a WebSocket. {text}")}


def described_of(route: BaseRoute) -> Described | None:
    """What a route says of itself; None where it says nothing."""
    found = getattr(getattr(route, "endpoint", None), ATTRIBUTE, None)
    return found if isinstance(found, Described) else None
