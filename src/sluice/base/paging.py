"""Limit and offset paging with bounds."""

from dataclasses import dataclass

from sluice.base.errors import InvalidInputError

MAX_LIMIT = 100
MAX_OFFSET = 2**63 - 1
"""The largest number that the databases take."""


@dataclass(frozen=True, slots=True)
class Page:
    """A window on a list: at most ``limit`` items after the first ``offset``."""

    limit: int = 20
    offset: int = 0

    def __post_init__(self) -> None:
        """Refuse a window outside the bounds."""
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidInputError(
                f"limit is {self.limit}; give a number from 1 to {MAX_LIMIT}."
            )
        if not 0 <= self.offset <= MAX_OFFSET:
            raise InvalidInputError(
                f"offset is {self.offset}; give a number from 0 to {MAX_OFFSET}."
            )
