"""Conditions on lists of values, in few forms: a database prepares each length anew."""

from collections.abc import Collection
from typing import TypeVar

from sqlalchemy import ColumnElement

Value = TypeVar("Value")


def among(
    column: ColumnElement[Value], values: Collection[Value]
) -> ColumnElement[bool]:
    """``column IN values``, with the list filled up to a power of two by repetition."""
    given = list(values)
    if given:
        length = 1 << (len(given) - 1).bit_length()
        given += [given[-1]] * (length - len(given))
    return column.in_(given)
