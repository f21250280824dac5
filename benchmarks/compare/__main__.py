"""Compare Insula with its peers.

python -m benchmarks.compare [--rounds N] [--only NAME,NAME] [--quick] [--busy]

Writes build/bench/rows.jsonl (every figure), page.md and plot.png. Exit code 3: the figures cannot be trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.compare.environment import PEERS, Environment, environment
from benchmarks.compare.report import OURS, behind, cpu_table, table
from benchmarks.compare.rounds import Round, RoundFailed, Row, Size, Untrusted, check_quiet
from benchmarks.compare.systems import SYSTEMS, System

OUTPUT: Final = Path("build") / "bench"
UNTRUSTED: Final = 3
QUICK: Final = Size(jobs=300, end_to_end=200, closed=50, open_s=1.0, warm_up=50)


async def measure(
    systems: Sequence[System], rounds: int, size: Size, found: Environment
) -> tuple[list[Row], list[RoundFailed]]:
    """Measure all systems in turn, `rounds` times, so that other load on the machine slows all of them.

    Return the figures, and the failed rounds of peers. Raises Untrusted if a round of Insula fails, or all of a peer.
    """
    rows, failures = list[Row](), list[RoundFailed]()
    for number in range(1, rounds + 1):
        for system in systems:
            with TemporaryDirectory(prefix="insula-bench-", ignore_cleanup_errors=True) as folder:
                print(f"round {number} of {rounds}: {system.name}", file=sys.stderr, flush=True)
                try:
                    rows += await Round(system, number, found, size, Path(folder)).measure()
                except RoundFailed as error:
                    if system.name == OURS:
                        raise Untrusted(str(error)) from error
                    failures.append(error)
    if without := {system.name for system in systems} - {row.system for row in rows}:
        raise Untrusted(f"every round failed: {', '.join(sorted(without))}")
    return rows, failures


def page(
    rows: Sequence[Row], failures: Sequence[RoundFailed], systems: Sequence[System], found: Environment, size: Size
) -> str:
    """Return the page of results, which opens with the limits of the comparison."""
    left_out = "".join(f"Left out, because it failed: {failure}.\n" for failure in failures)
    cores, memory_gib = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    machine = f"{cores} cores and {memory_gib} GiB ({platform.machine()}, Linux {platform.release()})"
    names = [system.name for system in systems]
    settings = "\n".join(f"| {one.name} | {one.version(found)} | {one.settings} |" for one in systems)
    return f"""# Benchmark of {datetime.now(UTC):%Y-%m-%d}

One machine with {machine}, on which the callers run too.
Medians of {max(row.round for row in rows)} rounds, ranges in brackets; the systems take turns. Payload: 200 bytes of
JSON; the handler returns them. {size.jobs} workloads fill the queue. Figures of another machine differ: compare
ratios. A ratio above 1 means that Insula is better. Insula writes every accepted workload to the disk before it
answers; the peers' Redis writes once a second.
{left_out}
{table(rows, names)}
Behind the best peer on Python: {", ".join(behind(rows, names)) or "nothing"}.

CPU of Insula's processes for a POST, its workload and one GET, in µs: {cpu_table(rows)}.

| system | version | settings |
|---|---|---|
{settings}
"""


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of systems, separated by commas")
    parser.add_argument("--quick", action="store_true", help="few workloads, to try the benchmark itself")
    parser.add_argument("--busy", action="store_true", help="keep figures of a busy machine")
    given = parser.parse_args()
    chosen = [one for one in SYSTEMS if not given.only or one.name in given.only.split(",")]
    found, size = environment(), QUICK if given.quick else Size()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    try:
        rows, failures = asyncio.run(measure(chosen, given.rounds, size, found))
        (OUTPUT / "rows.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
        if not given.busy:
            check_quiet(rows)
    except Untrusted as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(UNTRUSTED)
    text = page(rows, failures, chosen, found, size)
    (OUTPUT / "page.md").write_text(text, encoding="utf-8")
    subprocess.run([found.python, PEERS / "plot.py", OUTPUT / "rows.jsonl", OUTPUT / "plot.png"], check=True)
    print(text)


if __name__ == "__main__":
    main()
