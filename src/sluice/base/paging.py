"""Limit and offset paging with bounds."""

from dataclasses import dataclass

from sluice.base.errors import InvalidInputError

MAX_LIMIT = 100


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
        if self.offset < 0:
            raise InvalidInputError(
                f"offset is {self.offset}; give 0 or a positive number."
            )
