"""What the service needs: somebody who reviews."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluice.receiver.calls import Call
from sluice.receiver.model import Review


class ReviewError(Exception):
    """A review could not be made; the text is shown to whoever waits for it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to review.

    Attributes:
        call: what was asked.
        directory: a directory of this review's own; it is deleted afterwards.
        plan: the plan JSON in it; None at a gate before the plan.
        say: tells the platform how far the work is.
    """

    call: Call
    directory: Path
    plan: Path | None
    say: Callable[[str], None]


class Reviewer(Protocol):
    """Looks at a plan and says what it thinks of it."""

    async def review(self, order: Order) -> Review:
        """The review.

        Canceling it must leave no process behind.

        Raises:
            ReviewError: there is none.
        """
        ...
