"""Writes numbered, stamped lines to standard output, as a task's program does."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.lines import BLOCK, SIZE, Lines, account

WIDTH = SIZE
TICK = 0.002


def write_all(data: bytes) -> None:
    """Write to standard output, all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def at_rate(lines: Lines, count: int, rate: float) -> None:
    """``rate`` lines a second; those that are due go out in one write every 2 ms."""
    begin = time.monotonic()
    while lines.number < count:
        due = min(count, int((time.monotonic() - begin) * rate) + 1)
        if due > lines.number:
            write_all(lines.take(due - lines.number))
        wait = begin + lines.number / rate - time.monotonic()
        time.sleep(max(wait, TICK))


def full_speed(lines: Lines, count: int) -> None:
    """As fast as they are taken, a thousand in a write."""
    while lines.number + BLOCK <= count:
        write_all(lines.block())
    if lines.number < count:
        write_all(lines.take(count - lines.number))


def main() -> None:
    """Wait for the gate and the delay, write, and give account of what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="0: full speed")
    parser.add_argument("--delay", type=float, default=0.0, help="after the gate")
    parser.add_argument("--wait-for", type=Path, help="a file whose coming opens")
    parser.add_argument("--account", type=Path, help="a file for what was written")
    arguments = parser.parse_args()
    while arguments.wait_for and not arguments.wait_for.exists():
        time.sleep(0.001)
    time.sleep(arguments.delay)
    lines = Lines()
    if arguments.rate:
        at_rate(lines, arguments.count, arguments.rate)
    else:
        full_speed(lines, arguments.count)
    if arguments.account:
        arguments.account.write_text(json.dumps(account(lines)))


if __name__ == "__main__":
    main()
