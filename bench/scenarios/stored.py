"""Scenarios 4 and 5: one task at full speed, and reading a long log back."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
from websockets.sync.client import connect

from bench.generator import WIDTH
from bench.house import House
from bench.measure import ROOT

LINES = 1_000_000


def full_speed(house: House, count: int = 3_000_000) -> dict[str, float]:
    """``count`` lines from the process to durable and to one viewer."""
    task = house.start(count, delay=0.0)
    time.sleep(1.5)
    process = house.viewers(task, 1, seconds=180)
    process.ready()
    begun = time.monotonic_ns()
    house.go()
    result = process.result()
    seconds = (result["done_at"] - begun) / 1e9
    return {
        "lines_per_s": count / seconds,
        "lost": house.lost(task, 1, result),
        "lines": result["lines"],
        "viewer_cpu_s": result["cpu"],
    }


def ended_log(house: House, count: int = LINES) -> str:
    """The id of a task that has just ended, with ``count`` lines of output."""
    task = house.start(count, delay=0.0)
    house.go()
    house.stack.until(task, seconds=180)
    return task


def stored_log(house: House, count: int = LINES) -> str:
    """The same once the log is archived and nothing is left to be done for it."""
    task = ended_log(house, count)
    house.until_archived(task)
    return task


def replay(house: House, task: str) -> dict[str, float]:
    """The whole stored log to one viewer, from its connecting to the last line; memory
    before and at its highest.
    """
    before = house.memory()
    cpu = house.cpu()
    process = house.viewers(task, 1, seconds=120)
    highest = before
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(process.result)
        while not reading.done():
            highest = max(highest, house.memory())
            time.sleep(0.02)
    result = reading.result()
    took = (result["done_at"] - result["asked_at"]) / 1e9
    return {
        "mb_per_s": result["lines"] * WIDTH / 1e6 / took,
        "wire_mb_per_s": result["bytes"] / 1e6 / took,
        "memory_growth_mb": (highest - before) / 1e6,
        "server_cpu_s": house.cpu() - cpu,
        "viewer_cpu_s": result["cpu"],
        "lost": house.lost(task, 1, result),
    }


def replay_of_rows(house: House) -> dict[str, float]:
    """The same of a log that ended just now and is not archived yet.

    Raises:
        RuntimeError: archiving began meanwhile, so the figure says nothing.
    """
    task = ended_log(house)
    figures = replay(house, task)
    if house.is_archived(task):
        raise RuntimeError("the log was archived while it was replayed")
    house.until_archived(task)
    return figures


def first_frame(house: House, task: str, query: str) -> float:
    """Milliseconds from opening a stream to its first lines."""
    address = house.stack.url.replace("http", "ws", 1) + house.path(task, query)
    begun = time.monotonic()
    with connect(
        address,
        additional_headers=house.stack.headers,
        max_size=None,
        compression=None,
        proxy=None,
    ) as socket:
        while json.loads(socket.recv())["type"] not in ("batch", "stage_marker"):
            pass
        return (time.monotonic() - begun) * 1000


def jumps(house: House, task: str) -> dict[str, float]:
    """How long the last screen and any line by number take to come."""
    last = first_frame(house, task, "format=batch")
    lines = [
        first_frame(house, task, f"format=batch&after={n}")
        for n in (10, 123_456, 500_000, 777_777, 999_000)
    ]
    return {"last_screen_ms": last, "any_line_ms": max(lines)}


def nginx_file(port: int, root: Path, count: int = LINES) -> dict[str, float]:
    """The limit: nginx sends a file of the same bytes (sendfile) to one reader."""
    (root / "files").mkdir(exist_ok=True)
    file = root / "files" / "log.txt"
    if not file.exists():
        with file.open("wb") as out:
            subprocess.run(
                [
                    sys.executable,
                    str(ROOT / "bench/generator.py"),
                    "--count",
                    str(count),
                ],
                stdout=out,
                check=True,
            )
    begun = time.monotonic()
    size = 0
    with httpx2.stream("GET", f"http://127.0.0.1:{port}/files/log.txt") as answer:
        for block in answer.iter_raw(1 << 20):
            size += len(block)
    return {"mb_per_s": size / 1e6 / (time.monotonic() - begun)}
