"""Repeats the sides of a comparison in turn, and prints figures beside their targets."""

import collections
import json
import sys
from collections.abc import Callable

from bench.measure import median, spread

Side = Callable[[], dict[str, float]]
Runs = dict[str, list[float]]


class Report:
    """Prints a Markdown table, a row as soon as it is known.

    Args:
        reps: how often each side of a comparison runs.
    """

    def __init__(self, reps: int) -> None:
        self.reps = reps
        self.missed = 0

    def run(self, **sides: Side) -> dict[str, Runs]:
        """Each side once in every repetition, the order turned around each time."""
        found: dict[str, Runs] = {name: collections.defaultdict(list) for name in sides}
        for repetition in range(self.reps):
            names = list(sides) if repetition % 2 == 0 else list(reversed(sides))
            for name in names:
                figures = sides[name]()
                note = f"# {name} {repetition + 1}/{self.reps}: {json.dumps(figures)}"
                print(note, file=sys.stderr, flush=True)
                for key, value in figures.items():
                    found[name][key].append(value)
        return found

    def row(
        self, what: str, measured: str, target: str = "", *, met: bool = True
    ) -> None:
        """One figure; ``met`` says whether it keeps its target."""
        verdict = ("met" if met else "MISSED") if target else ""
        self.missed += not met
        print(f"| {what} | {measured} | {target} | {verdict} |", flush=True)

    def most(
        self, what: str, values: list[float], limit: float, digits: int = 1
    ) -> None:
        """A median that may be at most ``limit``."""
        met = median(values) <= limit
        self.row(what, spread(values, digits), f"≤ {limit:,g}", met=met)

    def least(self, what: str, values: list[float], limit: float) -> None:
        """A median that must be at least ``limit``."""
        met = median(values) >= limit
        self.row(what, spread(values, 0), f"≥ {limit:,g}", met=met)
