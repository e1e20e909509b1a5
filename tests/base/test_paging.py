"""The bounds of a page."""

import pytest

from sluice.base.errors import InvalidInputError
from sluice.base.paging import MAX_LIMIT, MAX_OFFSET, Page


@pytest.mark.parametrize(
    ("limit", "offset"), [(0, 0), (MAX_LIMIT + 1, 0), (1, -1), (1, MAX_OFFSET + 1)]
)
def test_a_page_outside_the_bounds_is_refused(limit: int, offset: int) -> None:
    with pytest.raises(InvalidInputError, match="give a number from"):
        Page(limit, offset)


def test_the_bounds_themselves_are_taken() -> None:
    assert Page(MAX_LIMIT, MAX_OFFSET).offset == MAX_OFFSET
