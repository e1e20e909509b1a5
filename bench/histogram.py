"""Latencies as counts in buckets of 50 microseconds, cheap to count and small to pass on."""

from collections import Counter

WIDTH_US = 50


class Histogram:
    """How often each latency occurred."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a latency."""
        self.counts[int(seconds * 1_000_000) // WIDTH_US] += times

    def percentile(self, percent: float) -> float:
        """Milliseconds under which ``percent`` of all latencies lie (upper bucket edge)."""
        total = sum(self.counts.values())
        if not total:
            return float("nan")
        rest = total * percent / 100
        for bucket in sorted(self.counts):
            rest -= self.counts[bucket]
            if rest <= 0:
                return (bucket + 1) * WIDTH_US / 1000
        return (max(self.counts) + 1) * WIDTH_US / 1000

    def values(self, most: int) -> list[float]:
        """At most ``most`` milliseconds, in order, that stand for all in proportion."""
        total = sum(self.counts.values())
        step = max(1.0, total / most)
        found: list[float] = []
        passed = 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            while (len(found) + 0.5) * step <= passed:
                found.append((bucket + 1) * WIDTH_US / 1000)
        return found
