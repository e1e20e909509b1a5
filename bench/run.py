"""Runs the scenarios of docs/performance.md and prints each figure beside its target.

make bench                               every scenario, 5 repetitions
make bench ARGS="--only 23 --reps 3"     scenarios 2 and 3
make bench ARGS=--quick                  1 repetition
"""

import argparse
import functools
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.house import House, house
from bench.measure import median, spread
from bench.peers.nchan import Nchan, available, nchan
from bench.report import Report, Side
from bench.scenarios import (
    agents,
    capture,
    claims,
    cost,
    frozen,
    live,
    masking,
    polling,
    stored,
)


def live_load(report: Report, home: House, peer: Nchan | None, load: live.Load) -> None:
    """One of the scenarios 1 to 3, beside nchan where there is one."""
    sides: dict[str, Side] = {"sluice": functools.partial(live.ours, home, load)}
    if peer is not None:
        sides["nchan"] = functools.partial(live.theirs, peer, load)
    found = report.run(**sides)
    ours = found["sluice"]
    if load.p50_ms is not None:
        report.most(f"{load.name}: p50 ms", ours["p50_ms"], load.p50_ms)
    if load.p99_ms is not None:
        report.most(f"{load.name}: p99 ms", ours["p99_ms"], load.p99_ms)
    lost = int(sum(ours["lost"]))
    report.row(f"{load.name}: runs that lost a line", str(lost), "0", met=lost == 0)
    if load is live.CROWD:
        report.most(f"{load.name}: server CPU, cores", ours["cpu_share"], 0.6, 2)
    if peer is None:
        return
    theirs = found["nchan"]
    mine, other = median(ours["lines_per_cpu_s"]), median(theirs["lines_per_cpu_s"])
    ratio = mine / other if other else float("nan")
    report.row(
        f"{load.name}: lines per server CPU-second, ratio to nchan",
        f"{ratio:.1f} ({mine:,.0f} to {other:,.0f})",
        "≥ 10" if load is live.FAN_OUT else "",
        met=ratio >= 10 or load is not live.FAN_OUT,
    )
    report.row(
        f"{load.name}: nchan's p50 / p99 ms",
        f"{median(theirs['p50_ms']):.1f} / {median(theirs['p99_ms']):.1f}",
    )


def full_speed(report: Report, home: House) -> None:
    """Scenario 4."""
    found = report.run(
        sluice=lambda: stored.full_speed(home),
        capture=capture.rate,
        readline=capture.rate_of_readline,
    )
    ours = found["sluice"]
    report.least(
        "4 process to durable and one viewer, lines/s", ours["lines_per_s"], 500_000
    )
    lost = int(sum(ours["lost"]))
    report.row("4 runs that lost a line", str(lost), "0", met=lost == 0)
    rates = found["capture"]["lines_per_s"]
    report.least("4 capture with masking to the spool, lines/s", rates, 1_000_000)
    ratio = median(rates) / median(found["readline"]["lines_per_s"])
    report.row("4 capture, ratio to asyncio's readline without a mask", f"{ratio:.1f}")


def replay(report: Report, home: House, peer: Nchan | None, root: Path) -> None:
    """Scenario 5."""
    task = stored.stored_log(home)
    sides: dict[str, Side] = {
        "sluice": lambda: stored.replay(home, task),
        "rows": lambda: stored.replay_of_rows(home),
        "jumps": lambda: stored.jumps(home, task),
    }
    if peer is not None:
        sides["nginx"] = lambda: stored.nginx_file(peer.port, root)
    found = report.run(**sides)
    ours, rows, jumps = found["sluice"], found["rows"], found["jumps"]
    report.least("5 replay of 1,000,000 lines, MB/s of log", ours["mb_per_s"], 300)
    report.row("5 the same before it is archived", spread(rows["mb_per_s"]))
    lost = int(sum(ours["lost"]) + sum(rows["lost"]))
    report.row("5 replays that lost or changed a line", str(lost), "0", met=lost == 0)
    report.row("5 memory growth of the server, MB", spread(ours["memory_growth_mb"]))
    for what, key in (("server", "server_cpu_s"), ("viewer", "viewer_cpu_s")):
        report.row(f"5 CPU seconds of the {what}", spread(ours[key], 2))
    report.most("5 last screen, ms", jumps["last_screen_ms"], 200)
    report.most("5 any line by number, ms", jumps["any_line_ms"], 50)
    if peer is not None:
        limit = found["nginx"]["mb_per_s"]
        report.row("5 limit: nginx sends a file of these bytes, MB/s", spread(limit))


def frozen_viewers(report: Report, home: House) -> None:
    """Scenario 6."""
    found = report.run(
        calm=lambda: frozen.run(home, 0), stuck=lambda: frozen.run(home, 5)
    )
    calm, stuck = found["calm"], found["stuck"]
    slow, quick = median(stuck["p99_ms"]), median(calm["p99_ms"])
    report.row(
        "6 others' p99 with 5 of 25 frozen, ratio to none frozen",
        f"{slow / quick:.2f} ({slow:.1f} to {quick:.1f} ms)",
        "≤ 1.10",
        met=slow / quick <= 1.1,
    )
    grown = median(stuck["growth_mb"]) - median(calm["growth_mb"])
    report.row("6 server memory for it, MB", f"{grown:.1f}", "≤ 4", met=grown <= 4)
    whole = not sum(calm["lost"]) and not sum(stuck["lost"])
    report.row("6 the frozen got every line", str(whole), "True", met=whole)


def costs(report: Report, home: House, peer: Nchan | None, root: Path) -> None:
    """Scenario 7."""
    phase = report.run(phase=lambda: cost.idle_phase(home))["phase"]
    report.most(
        "7 CPU of agent and phase process while terraform is silent, % of a core",
        phase["both_percent"],
        0.2,
        digits=3,
    )
    sides: dict[str, Side] = {"sluice": cost.idle_memory}
    if peer is not None:
        sides["nchan"] = lambda: cost.idle_memory_of_nchan(root / "idle")
    idle = report.run(**sides)
    report.most("7 memory an idle viewer, KB", idle["sluice"]["kb_per_viewer"], 32)
    if peer is not None:
        report.row(
            "7 memory an idle viewer at nchan, KB",
            spread(idle["nchan"]["kb_per_viewer"]),
        )
    masks = report.run(masker=masking.speed, replace=masking.speed_of_replace)
    report.least("7 masker with 50 secrets, MB/s", masks["masker"]["mb_per_s"], 300)
    ratio = median(masks["masker"]["mb_per_s"]) / median(masks["replace"]["mb_per_s"])
    report.row("7 masker, ratio to a loop of bytes.replace", f"{ratio:.1f}")
    leaks = masking.leaks()
    report.row("7 leaks in 100,000 random splits", str(leaks), "0", met=not leaks)
    with tempfile.TemporaryDirectory(prefix="sluice-plan-") as name:
        plan = capture.Plan(Path(name))
        found = report.run(plan=plan.beside_file)["plan"]
    report.most(
        "7 terraform's run time with capture, ratio to writing to a file",
        found["ratio"],
        1.02,
        digits=3,
    )
    report.row(
        "7 the same of the quickest runs alone", spread(found["ratio_of_best"], 3)
    )
    report.row(
        "7 capture's CPU time, % of terraform's run time",
        spread(found["cpu_percent"], 2),
    )


def against_polling(report: Report, home: House) -> None:
    """Scenario 8; bytes hardly differ from run to run, and a run takes its time."""
    found = polling.compare(home)
    print(f"# polling: {json.dumps(found)}", file=sys.stderr, flush=True)
    report.row(
        "8 bytes to follow a log of 1 MB, less than to poll it each second",
        f"{found['fewer']:.1%} ({found['followed_mb']:.1f} MB to"
        f" {found['polled_mb']:.1f} MB in {found['polls']:.0f} polls)",
        "≥ 90 %",
        met=found["fewer"] >= 0.9,
    )
    whole = not found["differ"]
    report.row("8 both read the same log", str(whole), "True", met=whole)


def scenarios(
    report: Report, home: House, peer: Nchan | None, root: Path, only: set[str]
) -> None:
    """Every scenario that was asked for, in order."""
    for load in (live.LATENCY, live.SILENCE, live.FAN_OUT, live.CROWD):
        if load.name[0] in only:
            live_load(report, home, peer, load)
    if "4" in only:
        full_speed(report, home)
    if "5" in only:
        replay(report, home, peer, root)
    if "6" in only:
        frozen_viewers(report, home)
    if "7" in only:
        costs(report, home, peer, root)
    if "8" in only:
        against_polling(report, home)
    if "9" in only:
        claims.tell(report)
        agents.tell(report)


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="1 repetition")
    parser.add_argument("--only", default="123456789", help="scenarios, e.g. 125")
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    report = Report(1 if arguments.quick else arguments.reps)
    missing = "not asked for" if arguments.no_peer else available()
    if missing:
        print(f"# without nchan: {missing}", file=sys.stderr)
    python = sys.version.split()[0]
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {python},")
    print(f"medians of {report.reps}, both sides in turn\n")
    print("| what | median (min to max) | target | |\n|---|---|---|---|", flush=True)
    only = set(arguments.only)
    with tempfile.TemporaryDirectory(prefix="sluice-peer-") as name:
        root = Path(name)
        if missing:
            with house() as home:
                scenarios(report, home, None, root, only)
        else:
            with nchan(root) as peer, house() as home:
                scenarios(report, home, peer, root, only)
    print(f"\n{report.missed} targets missed" if report.missed else "\nall targets met")


if __name__ == "__main__":
    main()
