"""Scenario 7: what an idle viewer costs in memory, here and at nginx with nchan, and what
an idle phase costs in CPU time.
"""

import time
from pathlib import Path

import psutil

from bench.house import House, house
from bench.measure import ViewerProcess
from bench.peers.nchan import Nchan, nchan

VIEWERS = 1000
IDLE_SECONDS = 30.0


def idle_memory() -> dict[str, float]:
    """Memory of a fresh server for each of many viewers of a task that says nothing."""
    with house() as home:
        task = home.start(1, 1.0, delay=0.0)
        time.sleep(2)
        warm = home.viewers(task, 50, seconds=60)
        warm.ready()
        time.sleep(1)
        before = home.memory()
        process = home.viewers(task, VIEWERS, seconds=60)
        process.ready()
        time.sleep(3)
        grown = home.memory() - before
        home.go()
        result = process.result()
        warm.result()
        return {"kb_per_viewer": grown / 1024 / VIEWERS, "lines": result["lines"]}


def idle_phase(house: House) -> dict[str, float]:
    """CPU of a phase's process and of its agent while terraform says nothing."""
    task = house.start(1, delay=0.0)
    known = house.phase_processes()
    while not (found := house.phase_processes() - known):
        time.sleep(0.2)
    time.sleep(5)
    agent = house.agent.pid
    job = found.pop()
    before = cpu_of(job), cpu_of(agent)
    begun = time.monotonic()
    time.sleep(IDLE_SECONDS)
    percent = 100 / (time.monotonic() - begun)
    after = cpu_of(job), cpu_of(agent)
    house.go()
    house.stack.until(task)
    return {
        "job_percent": (after[0] - before[0]) * percent,
        "agent_percent": (after[1] - before[1]) * percent,
        "both_percent": (sum(after) - sum(before)) * percent,
    }


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, finer than the ticks in which most tools count."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9


def idle_memory_of_nchan(root: Path) -> dict[str, float]:
    """The same for the worker of a fresh nginx."""
    root.mkdir(exist_ok=True)
    with nchan(root) as peer:
        return _worker_memory(peer)


def _worker_memory(peer: Nchan) -> dict[str, float]:

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
