"""What all shapes share: what is shown, what is given, names and reasons."""

import functools
import re
from datetime import datetime
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sluice.wire.texts import check_texts

Name = Annotated[
    str, Field(min_length=1, max_length=90, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]


_PLAIN = frozenset({bool, int, float})
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_NUMBER = 2**63 - 1
"""What both databases can store; no NaN and no infinity is below it."""


@functools.cache
def _kinds(model: type[BaseModel], field: str) -> frozenset[object]:
    """The kinds of a field that is a number or a yes, and nothing else."""
    kinds = _declared(model, field)
    return kinds if kinds <= _PLAIN else frozenset()


@functools.cache
def _declared(model: type[BaseModel], field: str) -> frozenset[object]:
    declared = model.model_fields[field].annotation
    return frozenset(get_args(declared) or (declared,)) - {type(None)}


def written_time(value: object) -> object:
    """Refuse a number in the place of a time: `2026-01-31T12:00:00Z` is one.

    Raises:
        ValueError: it is a number, or a text that is one.
    """
    if isinstance(value, int | float) or (
        isinstance(value, str) and not _DATE.match(value)
    ):
        raise ValueError("has to be a time such as 2026-01-31T12:00:00Z")
    return value


class Resource(BaseModel):
    """A frozen JSON object; unknown fields are ignored by readers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(BaseModel):
    """A frozen JSON request body; unknown fields are refused, and named.

    No text may hold a NUL character or half of a surrogate pair: PostgreSQL cannot
    store the first, and UTF-8 cannot write the second. A number is no text, and a yes is
    no number: `0`, `"1"` and `true` are not taken for each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _exact(cls, value: object, info: ValidationInfo) -> object:
        kinds = _kinds(cls, info.field_name or "")
        if kinds and isinstance(value, str | bool | int | float):
            is_yes = isinstance(value, bool)
            if isinstance(value, str) or is_yes is not (bool in kinds):
                wanted = "true or false" if bool in kinds else "a number"
                raise ValueError(f"has to be {wanted}")
            if not abs(value) <= _MAX_NUMBER:
                raise ValueError(f"has to be a number of at most {_MAX_NUMBER}")
        elif datetime in _declared(cls, info.field_name or ""):
            written_time(value)
        return value

    @field_validator("*")
    @classmethod
    def _storable(cls, value: object) -> object:
        check_texts(value)
        return value


class ReasonInput(Input):
    """Why somebody does something; shown to others and kept."""

    reason: str = Field(default="", max_length=1000)
