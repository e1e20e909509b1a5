"""Reads the server's JSON answers as the records of `sluice.wire.shapes`."""

from typing import TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from sluice.client.errors import ApiError

Record = TypeVar("Record", bound=BaseModel)


def one(kind: type[Record], response: httpx2.Response) -> Record:
    """The record an answer holds.

    Raises:
        ApiError: the answer is something else.
    """
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise _unexpected(response, error) from error


def many(kind: type[Record], response: httpx2.Response) -> list[Record]:
    """The records an answer holds.

    Raises:
        ApiError: the answer is something else.
    """
    try:
        return TypeAdapter(list[kind]).validate_json(response.content)  # type: ignore[valid-type]
    except ValidationError as error:
        raise _unexpected(response, error) from error


def _unexpected(response: httpx2.Response, error: ValidationError) -> ApiError:
    fault = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "the whole"
    return ApiError(
        f"{response.request.method} {response.url.path} was answered with something this client "
        f"cannot read ({place}: {fault['msg']}); check that the URL is that of a Sluice server "
        "and that both have the same version."
    )
