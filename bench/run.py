"""Runs the scenarios of docs/performance.md and prints each figure beside its target.

make bench                 every scenario, 5 repetitions
python -m bench.run --only 2 --reps 3
"""

import argparse
import collections
import functools
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.house import House, house
from bench.measure import median, spread
from bench.peers.nchan import Nchan, available, nchan
from bench.scenarios import cost, frozen, live, stored

Runs = dict[str, list[float]]


class Report:
    """Collects figures of repeated runs and prints them as a Markdown table."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []

    def add(self, what: str, measured: str, target: str, *, ok: bool | None) -> None:
        """One figure beside its target."""
        met = {True: "met", False: "MISSED", None: ""}[ok]
        self.rows.append(
            {"what": what, "measured": measured, "target": target, "met": met}
        )
        print(f"| {what} | {measured} | {target} | {met} |", flush=True)


def interleaved(
    reps: int, sides: dict[str, Callable[[], dict[str, float]]]
) -> dict[str, Runs]:
    """Each side once in every repetition, the order turned around each time."""
    found: dict[str, Runs] = {name: collections.defaultdict(list) for name in sides}
    for repetition in range(reps):
        names = list(sides) if repetition % 2 == 0 else list(reversed(sides))
        for name in names:
            figures = sides[name]()
            print(
                f"# {name} {repetition + 1}/{reps}: {json.dumps(figures)}",
                file=sys.stderr,
                flush=True,
            )
            for key, value in figures.items():
                found[name][key].append(value)
    return found


def live_scenarios(
    report: Report, home: House, peer: Nchan | None, reps: int, only: set[str]
) -> None:
    """Scenarios 1 to 3."""
    limits = {
        live.LATENCY.name: (15.0, 40.0),
        live.SILENCE.name: (8.0, None),
        live.FAN_OUT.name: (None, 60.0),
        live.CROWD.name: (None, 250.0),
    }
    for load in (live.LATENCY, live.SILENCE, live.FAN_OUT, live.CROWD):
        if only and load.name[0] not in only:
            continue
        sides: dict[str, Callable[[], dict[str, float]]] = {
            "sluice": functools.partial(live.ours, home, load)
        }
        if peer is not None:
            sides["nchan"] = functools.partial(live.theirs, peer, load)
        found = interleaved(reps, sides)
        ours = found["sluice"]
        p50, p99 = limits[load.name]
        if p50 is not None:
            report.add(
                f"{load.name}: p50 ms",
                spread(ours["p50_ms"]),
                f"≤ {p50:g}",
                ok=median(ours["p50_ms"]) <= p50,
            )
        if p99 is not None:
            report.add(
                f"{load.name}: p99 ms",
                spread(ours["p99_ms"]),
                f"≤ {p99:g}",
                ok=median(ours["p99_ms"]) <= p99,
            )
        report.add(
            f"{load.name}: runs that lost a line",
            str(int(sum(ours["lost"]))),
            "0",
            ok=sum(ours["lost"]) == 0,
        )
        share = median(ours["cpu_share"])
        if load is live.CROWD:
            report.add(
                f"{load.name}: server CPU, cores",
                spread(ours["cpu_share"], 2),
                "≤ 0.60",
                ok=share <= 0.6,
            )
        if peer is not None:
            theirs = found["nchan"]
            ratio = median(ours["lines_per_cpu_s"]) / median(theirs["lines_per_cpu_s"])
            target = "≥ 10" if load is live.FAN_OUT else ""
            report.add(
                f"{load.name}: lines per server CPU-second, ratio to nchan",
                f"{ratio:.1f} ({median(ours['lines_per_cpu_s']):,.0f} to"
                f" {median(theirs['lines_per_cpu_s']):,.0f})",
                target,
                ok=ratio >= 10 if target else None,
            )
            report.add(
                f"{load.name}: nchan's p50 / p99 ms",
                f"{median(theirs['p50_ms']):.1f} / {median(theirs['p99_ms']):.1f}",
                "",
                ok=None,
            )


def stored_scenarios(
    report: Report,
    home: House,
    peer: Nchan | None,
    reps: int,
    only: set[str],
    root: Path,
) -> None:
    """Scenarios 4 and 5."""
    if not only or "4" in only:
        ours = interleaved(reps, {"sluice": lambda: stored.full_speed(home)})["sluice"]
        rate = median(ours["lines_per_s"])
        report.add(
            "4 full speed to durable and one viewer, lines/s",
            spread(ours["lines_per_s"], 0),
            "≥ 500,000",
            ok=rate >= 500_000,
        )
        report.add(
            "4 gaps", str(int(sum(ours["gaps"]))), "0", ok=sum(ours["gaps"]) == 0
        )
    if not only or "5" in only:
        task = stored.stored_log(home)
        sides: dict[str, Callable[[], dict[str, float]]] = {
            "sluice": lambda: stored.replay(home, task),
            "jumps": lambda: stored.jumps(home, task),
        }
        if peer is not None:
            sides["nginx"] = lambda: stored.nginx_file(peer.port, root)
        found = interleaved(reps, sides)
        ours, jumps = found["sluice"], found["jumps"]
        report.add(
            "5 replay of 1,000,000 lines, MB/s of log",
            spread(ours["mb_per_s"]),
            "≥ 300",
            ok=median(ours["mb_per_s"]) >= 300,
        )
        report.add(
            "5 memory growth, MB", spread(ours["memory_growth_mb"]), "flat", ok=None
        )
        report.add(
            "5 last screen, ms",
            spread(jumps["last_screen_ms"]),
            "≤ 200",
            ok=median(jumps["last_screen_ms"]) <= 200,
        )
        report.add(
            "5 any line by number, ms",
            spread(jumps["any_line_ms"]),
            "≤ 50",
            ok=median(jumps["any_line_ms"]) <= 50,
        )
        if peer is not None:
            report.add(
                "5 limit: nginx sendfile of the same bytes, MB/s",
                spread(found["nginx"]["mb_per_s"]),
                "",
                ok=None,
            )


def other_scenarios(report: Report, home: House, reps: int, only: set[str]) -> None:
    """Scenarios 6 and 7."""
    if not only or "6" in only:
        found = interleaved(
            reps,
            {
                "0 frozen": lambda: frozen.run(home, 0),
                "5 frozen": lambda: frozen.run(home, 5),
            },
        )
        calm, stuck = found["0 frozen"], found["5 frozen"]
        ratio = median(stuck["p99_ms"]) / median(calm["p99_ms"])
        report.add(
            "6 others' p99 with 5 of 25 frozen, ratio to none frozen",
            f"{ratio:.2f} ({median(stuck['p99_ms']):.1f} to"
            f" {median(calm['p99_ms']):.1f} ms)",
            "≤ 1.10",
            ok=ratio <= 1.10,
        )
        grown = median(stuck["growth_mb"]) - median(calm["growth_mb"])
        report.add("6 server memory for it, MB", f"{grown:.1f}", "≤ 4", ok=grown <= 4)
        whole = all(late >= frozen.LINES for late in stuck["frozen_lines_each"])
        report.add(
            "6 frozen viewers got every line after thawing",
            str(whole),
            "True",
            ok=whole and not sum(stuck["gaps"]),
        )
    if not only or "7" in only:
        idle = interleaved(min(reps, 3), {"idle": lambda: cost.idle_memory(home)})[
            "idle"
        ]
        report.add(
            "7 server memory an idle viewer, KB",
            spread(idle["kb_per_viewer"]),
            "≤ 32",
            ok=median(idle["kb_per_viewer"]) <= 32,
        )
        mask = interleaved(reps, {"masker": cost.masker})["masker"]
        report.add(
            "7 masker with 50 secrets, MB/s",
            spread(mask["mb_per_s"], 0),
            "≥ 300",
            ok=median(mask["mb_per_s"]) >= 300,
        )
        report.add(
            "7 a loop of bytes.replace over the raw forms alone, MB/s",
            spread(mask["replace_loop_mb_per_s"], 0),
            "",
            ok=None,
        )


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--only", default="", help="numbers of scenarios, e.g. 125")
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    only = set(arguments.only)
    missing = "not asked for" if arguments.no_peer else available()
    if missing:
        print(f"# without nchan: {missing}", file=sys.stderr)
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]},"
        f" {arguments.reps} repetitions\n\n| what | median (min to max) | target | |\n|---|---|---|---|"
    )
    root = Path(tempfile.mkdtemp(prefix="sluice-peer-"))
    report = Report()
    try:
        if missing:
            with house() as home:
                run_all(report, home, None, arguments.reps, only, root)
        else:
            with nchan(root) as peer, house() as home:
                run_all(report, home, peer, arguments.reps, only, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run_all(
    report: Report,
    home: House,
    peer: Nchan | None,
    reps: int,
    only: set[str],
    root: Path,
) -> None:
    """Every scenario in order."""
    live_scenarios(report, home, peer, reps, only)
    stored_scenarios(report, home, peer, reps, only, root)
    other_scenarios(report, home, reps, only)


if __name__ == "__main__":
    main()
