"""Measures a drain: one worker runs workloads that wait, and its parts share the cores.

    .venv/bin/python -m benchmarks.drain [--workloads 20000] [--rounds 3]

Starts a stack (fsync on every write) with an API whose handler returns a constant. Each payload is 200 bytes of JSON.
Prints the rate and the time of one workload. For the main thread of each part, it prints how much of that time the
thread runs, and how much it is ready but has no core (`schedstat` of proc(5)). The rest of the time, it waits for
another part. All figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from benchmarks.bulk import LINE, echo_stack, worker_stopped
from insula import Client
from tests.stack import Stack
from tests.waiting import until_blocking

DRAIN_S: Final = 600
PARTS: Final = ("worker", "runner", "valkey")


def thread_us(pid: int) -> tuple[float, float]:
    """Return how long a process' main thread has run so far, and how long it was ready without a core."""
    runs_ns, ready_ns, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(runs_ns) / 1000, int(ready_ns) / 1000


def run_rounds(stack: Stack, workloads: int, rounds: int) -> tuple[list[float], dict[str, list[tuple[float, float]]]]:
    """Return, for each round, the microseconds of a workload, and of each part: running, and ready without a core."""
    pids = {part: stack.processes(part)[0] for part in PARTS} | {"insula up": stack.pid}
    took_us: list[float] = []
    parts_us: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    def drained() -> bool:
        counts = stack.counts("echo")
        return counts.get("in_queue", 0) == counts.get("in_progress", 0) == 0

    with Client(stack.public) as client:
        for _ in range(rounds):
            with worker_stopped(stack):
                for answer in client.submit_many("echo", [LINE] * workloads, content_type="application/json"):
                    assert answer.error is None, answer.error
                before = {part: thread_us(pid) for part, pid in pids.items()}
            began = time.perf_counter()
            until_blocking(drained, DRAIN_S)
            took_us.append((time.perf_counter() - began) / workloads * 1e6)
            for part, pid in pids.items():
                run, ready = ((now - then) / workloads for now, then in zip(thread_us(pid), before[part], strict=True))
                parts_us[part].append((run, ready))
    return took_us, parts_us


async def main() -> None:
    """Start the stack, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    async with echo_stack() as stack:
        took_us, parts_us = await asyncio.to_thread(run_rounds, stack, chosen.workloads, chosen.rounds)
    median_us = statistics.median(took_us)
    print(f"{chosen.workloads:,} workloads of 200 bytes, {chosen.rounds} rounds, {os.cpu_count()} cores")
    print(f"{1e6 / median_us:,.0f}/s, {median_us:.0f} µs for a workload")
    for part, rounds_us in parts_us.items():
        runs_us, ready_us = (statistics.median(each) for each in zip(*rounds_us, strict=True))
        print(f"{part:10} runs {runs_us:4.0f} µs, has no core {ready_us:4.0f} µs")


if __name__ == "__main__":
    asyncio.run(main())
