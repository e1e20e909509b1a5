"""How long to wait before trying again: longer each time, up to a ceiling, with jitter."""

from random import SystemRandom

_random = SystemRandom()


class Backoff:
    """Delays for one thing that is tried again and again.

    Args:
        first: about how many seconds the first delay takes.
        ceiling: no delay is longer.
    """

    def __init__(self, first: float, ceiling: float) -> None:
        self._first = first
        self._ceiling = ceiling
        self._next = first

    def delay(self) -> float:
        """The next delay in seconds, between half and the whole of its nominal length."""
        nominal = self._next
        self._next = min(self._next * 2, self._ceiling)
        return nominal * _random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: begin with the first delay again."""
        self._next = self._first


def jittered(seconds: float) -> float:
    """About so many seconds, so that many agents do not knock at one moment."""
    return seconds * _random.uniform(0.9, 1.1)
