"""Scenario 6: some viewers stop reading while 30 MB pass."""

import time

from bench.house import House
from bench.measure import percentile

LINES = 300_000
RATE = 30_000
VIEWERS = 25


def run(house: House, frozen: int) -> dict[str, float]:
    """30 MB in 10 s to 25 viewers of which ``frozen`` do not read until it is over."""
    seconds = LINES / RATE
    task = house.start(LINES, RATE, delay=1.0)
    time.sleep(1.5)
    reading = house.viewers(task, VIEWERS - frozen, seconds=seconds + 60)
    reading.ready()
    stuck = None
    if frozen:
        stuck = house.viewers(
            task, frozen, seconds=seconds + 90, frozen=frozen, thaw_after=seconds + 6
        )
        stuck.ready()
    before = house.memory()
    house.go()
    highest = before
    until = time.monotonic() + seconds + 3
    while time.monotonic() < until:
        highest = max(highest, house.memory())
        time.sleep(0.05)
    result = reading.result()
    latencies = result["latencies_ms"]
    figures = {
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "growth_mb": (highest - before) / 1e6,
        "lines": result["lines"],
        "frozen_lines_each": 0.0,
    }
    results = [result]
    if stuck is not None:
        results.append(late := stuck.result())
        figures["frozen_lines_each"] = float(late["each"][0])
        figures["reading_lines_each"] = float(result["each"][0])
    figures["lost"] = house.lost(task, VIEWERS, *results)
    return figures
