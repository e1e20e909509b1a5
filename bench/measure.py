"""Starting viewer processes, and the arithmetic of medians and percentiles."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ViewerProcess:
    """`bench/viewers.py` as a process of its own."""

    def __init__(self, **spec: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "viewers.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(spec) + "\n")
        self.process.stdin.flush()

    def ready(self) -> None:
        """Wait until all its viewers are connected.

        Raises:
            RuntimeError: it ended before that; the text is what it said.
        """
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        if said.strip() != "ready":
            raise RuntimeError(said + self.process.stderr.read())

    def result(self) -> dict:
        """What its viewers saw."""
        out, _ = self.process.communicate(timeout=300)
        return json.loads(out)


def is_whole(account: dict, viewers: int, results: Iterable[dict]) -> bool:
    """Whether each of ``viewers`` got every line just as it was written.

    Args:
        account: what the generator says it wrote.
        viewers: how many there were.
        results: what the processes of viewers say they got.
    """
    done = 0
    for result in results:
        done += result["done"]
        if result["gaps"] or result["written"] != [account["lines"]]:
            return False
        if result["stamps"] != account["stamps"]:
            return False
    return done == viewers


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values) if values else float("nan")


def spread(values: list[float], digits: int = 1) -> str:
    """`median (min to max)` of several runs."""
    if not values:
        return "not measured"
    return (
        f"{median(values):.{digits}f}"
        f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
    )
