"""Stored output as a page of records (spec/5): what is asked for, and the answer."""

from enum import StrEnum
from typing import TypeVar

import msgspec
from starlette.datastructures import QueryParams
from starlette.responses import Response

from sluice.base.errors import InvalidInputError
from sluice.logs.history import LogView
from sluice.logs.records import script_records
from sluice.tasks.output_query import whole_number
from sluice.wire.script_stream import RecordLevel, RecordSource, ScriptRecord

SIZE = 100
MOST = 1000
_MAX_PAGE = 10**9
_SELECTING = frozenset({"source", "level", "page", "size"})
_encode = msgspec.json.Encoder().encode
_Choice = TypeVar("_Choice", bound=StrEnum)


class RecordPage(msgspec.Struct, frozen=True):
    """A page of a log's records; ``page`` counts from 0."""

    content: list[ScriptRecord]
    page: int
    size: int
    total_elements: int
    total_pages: int


def asks_for_records(params: QueryParams) -> bool:
    """Whether a request for a task's logs wants records and not the text."""
    return params.get("format") == "records" or not _SELECTING.isdisjoint(params)


async def record_page(view: LogView, params: QueryParams) -> Response:
    """The page that is asked for.

    Raises:
        InvalidInputError: a parameter cannot be taken.
    """
    page = whole_number("page", params.get("page", "0"))
    size = whole_number("size", params.get("size", str(SIZE)))
    if not 1 <= size <= MOST or page > _MAX_PAGE:
        raise InvalidInputError(
            f"page is {page} and size {size}; give a size from 1 to {MOST}, and a page"
            f" from 0 to {_MAX_PAGE}."
        )
    source = _choice(RecordSource, "source", params.get("source", "").lower())
    level = _choice(RecordLevel, "level", params.get("level", "").upper())
    records, total = await script_records(
        view, source=source, level=level, page=page, size=size
    )
    found = RecordPage(records, page, size, total, -(-total // size))
    return Response(_encode(found), media_type="application/json")


def _choice(kind: type[_Choice], name: str, given: str) -> _Choice | None:
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        known = ", ".join(f"`{one}`" for one in kind)
        raise InvalidInputError(f"{name} is {given!r}; give one of {known}.") from None
