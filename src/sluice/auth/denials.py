"""How much of a flood of refusals the audit log keeps."""

from collections.abc import Hashable
from dataclasses import dataclass

SECONDS = 60.0
OF_ONE_CALLER = 60
"""Entries a minute for all that one caller is refused."""
REMEMBERED = 10_000


@dataclass(slots=True)
class _Minute:
    since: float
    kept: int = 1
    swallowed: int = 0


class Denials:
    """Lets one refusal a minute through for each caller, action and subject.

    All that one caller is refused is bounded, too, so that nobody fills the log by asking
    for one thing after the other. What is swallowed is counted, and the count comes with
    the next that is kept.
    """

    def __init__(self) -> None:
        self._minutes: dict[Hashable, _Minute] = {}

    def admit(self, actor: str, action: str, subject: str, *, now: float) -> int | None:
        """How many were swallowed before this one; None if this one is swallowed, too.

        Args:
            actor: the id of the caller.
            action: what was refused.
            subject: to what.
            now: seconds of a clock that never goes back.
        """
        same = self._take((actor, action, subject), 1, now)
        if same is None:
            return None
        others = self._take(actor, OF_ONE_CALLER, now)
        return None if others is None else same + others

    def _take(self, key: Hashable, most: int, now: float) -> int | None:
        minute = self._minutes.get(key)
        if minute is None or now - minute.since >= SECONDS:
            self._minutes.pop(key, None)
            self._minutes[key] = _Minute(now)
            if len(self._minutes) > REMEMBERED:
                del self._minutes[next(iter(self._minutes))]
            return minute.swallowed if minute else 0
        if minute.kept < most:
            minute.kept += 1
            return 0
        minute.swallowed += 1
        return None
