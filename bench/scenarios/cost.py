"""Scenario 7: what an idle viewer costs in memory, here and at nginx with nchan."""

import time

import psutil

from bench.house import House
from bench.measure import ViewerProcess
from bench.peers.nchan import Nchan

VIEWERS = 1000


def idle_memory(house: House) -> dict[str, float]:
    """Server memory for each of many viewers of a task that says nothing."""
    task = house.start(1, 1.0, delay=0.0)
    time.sleep(2)
    warm = house.viewers(task, 50, seconds=60)
    warm.ready()
    time.sleep(1)
    before = house.memory()
    process = house.viewers(task, VIEWERS, seconds=60)
    process.ready()
    time.sleep(3)
    grown = house.memory() - before
    house.go()
    result = process.result()
    warm.result()
    return {"kb_per_viewer": grown / 1024 / VIEWERS, "lines": result["lines"]}


def idle_memory_of_nchan(peer: Nchan) -> dict[str, float]:
    """The same for nginx's worker."""

    def memory() -> int:
        workers = psutil.Process(peer.pid).children()
        return sum(int(one.memory_info().rss) for one in workers)

    before = memory()
    process = ViewerProcess(
        host="127.0.0.1",
        port=peer.port,
        path=peer.path,
        protocol="lines",
        viewers=VIEWERS,
        seconds=5,
    )
    process.ready()
    time.sleep(2)
    grown = memory() - before
    process.result()
    return {"kb_per_viewer": grown / 1024 / VIEWERS}
