"""Scenarios 1 to 3: from the process's write to the viewers, live."""

import time
from dataclasses import dataclass

from bench.house import House
from bench.measure import ViewerProcess, percentile
from bench.peers.nchan import Nchan


@dataclass(frozen=True)
class Load:
    """So many lines at a rate to so many viewers, and what is allowed."""

    name: str
    viewers: int
    rate: float
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None

    @property
    def count(self) -> int:
        """Lines in all."""
        return int(self.rate * self.seconds)


LATENCY = Load("1 latency: 1,000 lines/s, 100 viewers", 100, 1000, 8, 15, 40)
SILENCE = Load("1 first line after silence: 2 lines/s, 100 viewers", 100, 2, 12, 8)
FAN_OUT = Load("2 fan-out: 10,000 lines/s, 500 viewers", 500, 10_000, 6, None, 60)
CROWD = Load("3 crowd: 100 lines/s, 2,000 viewers", 2000, 100, 10, None, 250)


def summary(results: list[dict], cpu: float, wall: float) -> dict[str, float]:
    """The figures of one run."""
    latencies = [one for result in results for one in result["latencies_ms"]]
    lines = sum(result["lines"] for result in results)
    return {
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "lines": lines,
        "gaps": sum(result["gaps"] for result in results),
        "cpu_share": cpu / wall,
        "lines_per_cpu_s": lines / cpu if cpu else float("nan"),
        "viewer_cpu_share": sum(result["cpu"] for result in results) / wall,
    }


def ours(house: House, load: Load) -> dict[str, float]:
    """One run of Sluice under a load; `lost` counts lines that did not arrive."""
    task = house.start(load.count, load.rate, delay=1.5)
    time.sleep(1.5)
    process = house.viewers(task, load.viewers, seconds=load.seconds + 60)
    process.ready()
    cpu = house.cpu()
    house.go()
    result = process.result()
    figures = summary([result], house.cpu() - cpu, load.seconds)
    figures["lost"] = house.lost(task, load.viewers, result)
    return figures


def theirs(peer: Nchan, load: Load) -> dict[str, float]:
    """One run of nginx with nchan under the same load, one line a message."""
    process = ViewerProcess(
        host="127.0.0.1",
        port=peer.port,
        path=peer.path,
        protocol="lines",
        viewers=load.viewers,
        seconds=load.seconds + 6,
    )
    process.ready()
    cpu = peer.cpu()
    peer.publish(load.count, load.rate)
    result = process.result()
    figures = summary([result], peer.cpu() - cpu, load.seconds)
    figures["lost"] = load.count * load.viewers - figures["lines"]
    return figures
