"""What all shapes share: what is shown, what is given, names and reasons."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sluice.wire.texts import check_texts

Name = Annotated[
    str, Field(min_length=1, max_length=90, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]


class Resource(BaseModel):
    """A frozen JSON object; unknown fields are ignored by readers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(BaseModel):
    """A frozen JSON request body; unknown fields are refused, and named.

    No text may hold a NUL character or half of a surrogate pair: PostgreSQL cannot
    store the first, and UTF-8 cannot write the second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _storable(cls, value: object) -> object:
        check_texts(value)
        return value


class ReasonInput(Input):
    """Why somebody does something; shown to others and kept."""

    reason: str = Field(default="", max_length=1000)
