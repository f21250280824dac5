"""Measures how the cost of a workload grows: with the queue, the payload, the workers and the slots of a worker.

    .venv/bin/python -m benchmarks.growth [--workloads 10000] [--queued 1000000]

For each point, `Client.submit_many` fills the queue while the workers are stopped with SIGSTOP; then they drain it.
Each handler returns a constant. Prints the CPU microseconds for one workload, of all parts but the client, and writes
build/bench/growth.jsonl and growth.png. A line that stays level means that the cost grows linearly with the work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.bulk import CORTEX_YAML, HANDLER, Row, measured, worker_stopped
from benchmarks.compare.environment import PEERS, environment
from insula import Client
from tests.stack import Stack, running_stack
from tests.waiting import until_blocking

OUTPUT: Final = Path("build") / "bench"
WARM_UP: Final = 1000
DRAINED_S: Final = 3600.0
QUEUED: Final = (1_000, 10_000, 100_000, 1_000_000)
PAYLOAD_KIB: Final = (1, 4, 16, 64)
WORKERS: Final = (1, 2, 4, 8)
SLOTS: Final = (1, 4, 16, 64)


@dataclass(frozen=True)
class Point:
    """One measurement: `workers` workers with `slots` threads each drain `queued` workloads of `payload_bytes` each.

    `varied` names the quantity that varies, the x axis of the plot. `value` is the value of this quantity.
    """

    varied: str
    value: int
    queued: int
    payload_bytes: int = 200
    workers: int = 1
    slots: int = 1


def points(workloads: int, queued_max: int) -> Iterator[Point]:
    """Yield the points: the queue, the payload, the workers and the slots vary, one at a time."""
    for queued in QUEUED:
        if queued <= queued_max:
            yield Point("queued workloads", queued, queued)
    for kib in PAYLOAD_KIB:
        yield Point("payload, KiB", kib, workloads // 4, payload_bytes=kib << 10)
    for workers in WORKERS:
        yield Point("workers", workers, workloads, workers=workers)
    for slots in SLOTS:
        yield Point("slots", slots, workloads, slots=slots)


def fill(client: Client, point: Point, count: int) -> None:
    """Submit `count` workloads with payloads of the size of the point."""
    payload = json.dumps({"text": "x" * (point.payload_bytes - 11)}).encode()
    for answer in client.submit_many("echo", (payload for _ in range(count)), content_type="application/json"):
        assert answer.error is None


def drain(stack: Stack, completed: int) -> None:
    """Wait until the stack has `completed` completed workloads."""
    until_blocking(lambda: stack.counts("echo").get("completed") == completed, DRAINED_S)


def run(stack: Stack, point: Point) -> Row:
    """Measure a point."""
    row = Row()
    with Client(stack.public) as client:
        fill(client, point, WARM_UP)
        drain(stack, WARM_UP)
        with measured(stack, row, point.queued):
            with worker_stopped(stack):
                fill(client, point, point.queued)
            drain(stack, WARM_UP + point.queued)
    del row.costs_us["client"]
    return row


async def measure(each: Iterable[Point]) -> list[tuple[Point, Row]]:
    """Measure the points, each in a stack of its own."""
    rows: list[tuple[Point, Row]] = []
    for point in each:
        with tempfile.TemporaryDirectory(dir=Path.home()) as folder:  # a handler has its own /tmp
            project = Path(folder) / "project"
            project.mkdir()
            threads = f"path: handler.py, threads_per_process: {point.slots}"
            (project / "cortex.yaml").write_text(CORTEX_YAML.replace("path: handler.py", threads))
            (project / "handler.py").write_text(HANDLER)
            options = ("--replicas", f"echo={point.workers}")
            async with running_stack([project], data=Path(folder) / "data", options=options) as stack:
                rows.append((point, await asyncio.to_thread(run, stack, point)))
                print(f"{point.varied:20}{point.value:10,}  {rows[-1][1]}", flush=True)
    return rows


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=1_000_000, help="most queued workloads")
    chosen = parser.parse_args()
    rows = asyncio.run(measure(points(chosen.workloads, chosen.queued)))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**asdict(point), "cost_us": sum(row.cost_us_by_part().values())}) for point, row in rows]
    (OUTPUT / "growth.jsonl").write_text("\n".join(lines) + "\n")
    drawing = [PEERS / "growth_plot.py", OUTPUT / "growth.jsonl", OUTPUT / "growth.png"]
    subprocess.run([environment().python, *drawing], check=True)


if __name__ == "__main__":
    main()
