"""Measures batches: submits over HTTP and gRPC, fetches, and the whole way through one worker.

    .venv/bin/python -m benchmarks.bulk [--workloads 20000] [--rounds 3] [--connections 2]

Starts a stack (fsync on every write) with an API whose handler returns a constant. While submits are measured, the
worker is stopped with SIGSTOP, so that the rows do not depend on it. Each payload is 200 bytes of JSON. Prints one row
for each measurement: workloads a second, as the median and the range of the rounds, and the CPU time of each part for
one workload. The load generator runs on the same machine. Rows:

    :batch          POST /echo:batch on --connections connections, until the last answer
    stream          Client.submit_many, until the last answer
    end to end      Client.submit_many, then Client.results until the last end; the worker runs
    fetch           Client.results of workloads that have ended
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.compare.processes import cpu_s, roles_below
from insula import Client
from tests.stack import PART_WORDS, Stack, running_stack

CORTEX_YAML: Final = """\
- name: echo
  kind: AsyncAPI
  handler: {type: python, path: handler.py}
  autoscaling: {max_replica_concurrency: 30000, max_replicas: 100}
"""
HANDLER: Final = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"
LINE: Final = json.dumps({"text": "x" * 189}).encode()
PIECE_LINES: Final = 1000


@asynccontextmanager
async def echo_stack() -> AsyncGenerator[Stack]:
    """Run a stack with the API `echo`, whose handler returns a constant."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:  # a handler has its own /tmp
        project = Path(folder) / "project"
        project.mkdir()
        (project / "cortex.yaml").write_text(CORTEX_YAML)
        (project / "handler.py").write_text(HANDLER)
        async with running_stack([project], data=Path(folder) / "data") as stack:
            yield stack


@dataclass
class Row:
    """The rounds of one measurement: workloads a second, and CPU microseconds for a workload by part."""

    rates: list[float] = field(default_factory=list[float])
    costs_us: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def cost_us_by_part(self) -> dict[str, float]:
        """Return the median cost of each part."""
        return {part: statistics.median(each) for part, each in self.costs_us.items()}

    def __str__(self) -> str:
        costs = self.cost_us_by_part()
        shown = " + ".join(f"{part} {cost:.0f}" for part, cost in costs.items() if cost >= 1)
        spread = f"({min(self.rates):,.0f}-{max(self.rates):,.0f})"
        return f"{statistics.median(self.rates):8,.0f}/s {spread:18} {sum(costs.values()):5.0f} µs: {shown}"


def part_of(command: str) -> str:
    """Return the part that a process with this command line belongs to."""
    return next((part for part, word in PART_WORDS.items() if word in command), "other")


@contextmanager
def measured(stack: Stack, row: Row, workloads: int) -> Generator[None]:
    """Add a round to the row: the time and the CPU time of the block, which handles `workloads` workloads."""
    roles = {**roles_below(stack.pid, part_of), os.getpid(): "client"}
    before, began_s = cpu_s(roles), time.perf_counter()
    yield
    row.rates.append(workloads / (time.perf_counter() - began_s))
    for part, used_s in cpu_s(roles).items():
        row.costs_us[part].append((used_s - before.get(part, 0)) / workloads * 1e6)


@contextmanager
def worker_stopped(stack: Stack) -> Generator[None]:
    """Stop the worker with SIGSTOP. The block must be shorter than a lease."""
    workers = stack.processes("worker")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def post_batch(url: str, lines: int) -> list[str]:
    """POST a batch of `lines` workloads, and read the answers meanwhile. Return the ids of the workloads."""
    parts, body = urlsplit(url), (LINE + b"\n") * lines
    head = f"POST /echo:batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((str(parts.hostname), parts.port or 80)) as connection, ThreadPoolExecutor(1) as pool:
        connection.sendall(f"{head}Content-Type: application/x-ndjson\r\n\r\n".encode())
        pool.submit(connection.sendall, body)
        received = b"".join(iter(lambda: connection.recv(1 << 18), b""))
    ids = [part[:36].decode() for part in received.split(b'{"id":"')[1:]]
    assert len(ids) == lines, received[-300:]
    return ids


def drain(client: Client, ids: Iterable[str]) -> None:
    """Wait until the workloads have ended."""
    for outcome in client.results("echo", ids):
        outcome.result()


def run_rounds(stack: Stack, workloads: int, rounds: int, connections: int) -> dict[str, Row]:
    """Measure each row once in each round."""
    rows: dict[str, Row] = defaultdict(Row)
    payloads = [LINE] * workloads
    with Client(stack.public) as client:

        def submit_many() -> list[str]:
            answers = client.submit_many("echo", payloads, content_type="application/json")
            return [str(answer.id) for answer in answers if answer.error is None]

        def batches() -> list[str]:
            with ThreadPoolExecutor(connections) as pool:
                shares = pool.map(post_batch, [stack.public] * connections, [workloads // connections] * connections)
                return [id for share in shares for id in share]

        submits: dict[str, Callable[[], list[str]]] = {":batch": batches, "stream": submit_many}
        for _ in range(rounds):
            for name, submit in submits.items():
                with worker_stopped(stack), measured(stack, rows[name], workloads):
                    ids = submit()
                drain(client, ids)
            with measured(stack, rows["end to end"], workloads):
                ids = submit_many()
                drain(client, ids)
            with measured(stack, rows["fetch"], workloads):
                drain(client, ids)
    return rows


async def main() -> None:
    """Start the stack, measure, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=2)
    chosen = parser.parse_args()
    async with echo_stack() as stack:
        rows = await asyncio.to_thread(run_rounds, stack, chosen.workloads, chosen.rounds, chosen.connections)
    print(f"{chosen.workloads:,} workloads of 200 bytes, {chosen.rounds} rounds, {os.cpu_count()} cores")
    for name, row in rows.items():
        print(f"{name:12}{row}")


if __name__ == "__main__":
    asyncio.run(main())
