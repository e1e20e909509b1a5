"""A text that is taken in and never shown: by no model's repr, and by no model's JSON."""

from typing import Annotated, Any

from pydantic import PlainSerializer, SerializationInfo

HIDDEN = "***"

REVEAL: dict[str, Any] = {"reveal": True}
"""The context with which the sender of a request writes its JSON, secrets in it."""


def _written(value: str, info: SerializationInfo) -> str:
    revealed = info.context is not None and info.context.get("reveal") is True
    return value if revealed or not value else HIDDEN


Secret = Annotated[
    str, PlainSerializer(_written, return_type=str, when_used="json-unless-none")
]
"""Of a field that holds what nobody is to read again; the field says ``repr=False``, too.

The code that needs it reads it as a plain text.
"""
