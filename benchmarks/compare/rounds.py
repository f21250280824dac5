"""One round of measurements of one system, from outside: each figure is one row."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.compare.environment import PEERS, Environment
from benchmarks.compare.processes import cpu_s, listens, machine_busy_s, resident_mb
from benchmarks.compare.systems import Running, System

CONNECTIONS: Final = 32
RATES: Final = (50, 200, 500)
"""Submits a second of the open loop: callers that arrive at random times and do not wait for each other."""
OTHERS_MAX: Final = 0.15
"""Share of one core that other processes of the machine may use during a measurement."""
WORKERS: Final = ("worker", "runner")


class Untrusted(Exception):
    """A measurement would be wrong: another process answered, or the machine was busy."""


class RoundFailed(Exception):
    """The system did not end the workloads of a round, or a call failed."""


@dataclass(frozen=True)
class Size:
    """How much is measured in one round. A round of one system takes about a minute with the defaults."""

    jobs: int = 6000
    end_to_end: int = 1500
    closed: int = 300
    open_s: float = 5.0
    warm_up: int = 200


@dataclass(frozen=True)
class Row:
    """One figure. `value` is in the unit of the metric's name; `others` is the CPU share of other processes."""

    system: str
    round: int
    metric: str
    value: float
    others: float


class Round:
    """Measures one running system."""

    def __init__(self, system: System, number: int, environment: Environment, size: Size, folder: Path) -> None:
        self._system = system
        self._number = number
        self._environment = environment
        self._size = size
        self._folder = folder
        self.rows: list[Row] = []

    async def measure(self) -> list[Row]:
        """Start the system, measure it and stop it. Raises Untrusted and RoundFailed."""
        async with self._system.running(self._environment, self._folder) as running:
            if not listens(running.port, running.roles()):
                raise Untrusted(f"{self._system.name}: another process listens at port {running.port}")
            await self._load("end_to_end", running.url, self._size.warm_up, CONNECTIONS)
            await self._end_to_end(running)
            await self._latencies(running)
            await self._queue(running)
            for role, used_mb in resident_mb(running.roles()).items():
                self._row(f"memory {role} MB", used_mb, 0)
        return self.rows

    async def _end_to_end(self, running: Running) -> None:
        async with self._watched(running) as watch:
            found = await self._load("end_to_end", running.url, self._size.end_to_end, CONNECTIONS)
        self._row("end to end jobs/s", found["per_s"], watch.others)

    async def _latencies(self, running: Running) -> None:
        """Measure the time from POST to result: with one caller, then with callers that arrive at each of RATES."""
        async with self._watched(running) as watch:
            found = await self._load("closed", running.url, self._size.closed)
        self._row("closed loop p50 ms", 1000 * found["p50_s"], watch.others)
        self._row("closed loop p99 ms", 1000 * found["p99_s"], watch.others)
        for rate in RATES:
            async with self._watched(running) as watch:
                found = await self._load("open", running.url, rate, self._size.open_s)
            self._row(f"open loop {rate}/s p50 ms", 1000 * found["p50_s"], watch.others)
            self._row(f"open loop {rate}/s p99 ms", 1000 * found["p99_s"], watch.others)

    async def _queue(self, running: Running) -> None:
        """Measure three steps: submits while the worker is stopped, the drain of the queue, and a GET of each result.

        Also measure the CPU time that one workload takes in all three.
        """
        ids = self._folder / "ids"
        used: dict[str, float] = {}
        workers = [pid for pid, role in running.roles().items() if role in WORKERS]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        async with self._watched(running, used) as watch:
            found = await self._load("submit", running.url, self._size.jobs, CONNECTIONS, ids)
        self._row("submit req/s", found["per_s"], watch.others)
        self._row("submit p50 ms", 1000 * found["p50_s"], watch.others)
        self._row("submit p99 ms", 1000 * found["p99_s"], watch.others)
        async with self._watched(running, used) as watch:
            found = await self._load("drained", running.url, ids, ",".join(map(str, workers)))
        self._row("drain jobs/s", found["per_s"], watch.others)
        async with self._watched(running, used) as watch:
            found = await self._load("fetch", running.url, ids, CONNECTIONS)
        self._row("fetch req/s", found["per_s"], watch.others)
        for role, used_s in used.items():
            self._row(f"CPU {role} µs/job", 1e6 * used_s / self._size.jobs, watch.others)
        self._row("CPU µs/job", 1e6 * sum(used.values()) / self._size.jobs, watch.others)

    async def _load(self, *arguments: object) -> dict[str, Any]:
        """Run peers/load.py, the program of the callers, with these arguments. Return the figures that it prints."""
        command = [self._environment.python, str(PEERS / "load.py"), *map(str, arguments)]
        pipe = asyncio.subprocess.PIPE
        callers = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        output, errors = await callers.communicate()
        if callers.returncode != 0:
            print(errors.decode(), file=sys.stderr)
            reason = (errors.decode().splitlines() or [f"exit code {callers.returncode}"])[-1]
            raise RoundFailed(f"{self._system.name}, round {self._number}: {reason}")
        found: dict[str, Any] = json.loads(output)
        return found

    @asynccontextmanager
    async def _watched(self, running: Running, used: dict[str, float] | None = None) -> AsyncGenerator[Watch]:
        """Yield a Watch. At the end of the block, store in it the CPU share that other processes used during the block.

        Add the CPU time that each role of the system used to `used`.
        """
        watch, roles = Watch(), running.roles()
        before, busy_s, callers_s, began = cpu_s(roles), machine_busy_s(), _children_s(), time.perf_counter()
        yield watch
        after, took_s = cpu_s(running.roles()), time.perf_counter() - began
        spent = {role: after[role] - before.get(role, 0.0) for role in after}
        ours_s = sum(spent.values()) + _children_s() - callers_s
        watch.others = max(0.0, machine_busy_s() - busy_s - ours_s) / took_s
        if used is not None:
            used |= {role: used.get(role, 0.0) + spent_s for role, spent_s in spent.items()}

    def _row(self, metric: str, value: float, others: float) -> None:
        self.rows.append(Row(self._system.name, self._number, metric, value, others))


@dataclass
class Watch:
    """The share of one core that processes other than the system and its callers used."""

    others: float = 0.0


def check_quiet(rows: Iterable[Row]) -> None:
    """Raise Untrusted if other processes took more than OTHERS_MAX of a core during a measurement."""
    loud = [row for row in rows if row.others > OTHERS_MAX]
    if loud:
        worst = max(loud, key=lambda row: row.others)
        raise Untrusted(
            f"other processes used {worst.others:.0%} of a core while {worst.metric} of {worst.system} was measured, "
            f"and more than {OTHERS_MAX:.0%} during {len(loud)} measurements; repeat it on a quiet machine"
        )


def _children_s() -> float:
    """Return the CPU time of this process and of its children that have ended, which are the callers."""
    return sum(os.times()[:4])
