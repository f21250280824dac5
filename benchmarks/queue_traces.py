"""Records the workloads in flight of real queues, for tests/unit/scaling.

    .venv/bin/python -m benchmarks.queue_traces FOLDER [SECONDS]

Three APIs of one stack, each with one worker, get a burst, waves, or spikes of workloads that take 1 to 5 s each. Every
2 s the program reads the number of workloads that wait or run. It writes one file for each API: a line that describes
the trace, then one number for each reading.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from tests.stack import Stack, running_stack

PROJECT = Path(__file__).resolve().parents[1] / "tests" / "projects" / "sleeper"
EVERY_S = 2
SECONDS = 1500

Arrivals = Callable[[random.Random, float], float]


def burst(chance: random.Random, at_s: float) -> float:
    """120 s of nothing, 90 s of about one workload a second, then nothing."""
    return EVERY_S * chance.uniform(0.5, 1.5) if 120 <= at_s < 210 else 0


def waves(chance: random.Random, at_s: float) -> float:
    """Between nothing and 0.6 workloads a second, up and down in 10 minutes."""
    return EVERY_S * chance.expovariate(1) * 0.3 * (1 - math.cos(2 * math.pi * at_s / 600))


def spikes(chance: random.Random, at_s: float) -> float:
    """25 workloads at once every 5 minutes, and a single one now and then."""
    return 25 if at_s % 300 == 150 else float(chance.random() < 0.1)


SHAPES: dict[str, Arrivals] = {"burst": burst, "waves": waves, "spikes": spikes}


def write_project(folder: Path) -> Path:
    """Write a project with an API for each shape."""
    folder.mkdir()
    (folder / "handler.py").write_text((PROJECT / "handler.py").read_text())
    one = (PROJECT / "cortex.yaml").read_text()
    (folder / "cortex.yaml").write_text("".join(one.replace("name: sleeper", f"name: {api}") for api in SHAPES))
    return folder


async def ticks(seconds: float) -> AsyncIterator[float]:
    """Yield the time since the start, every EVERY_S."""
    clock = asyncio.get_running_loop().time
    start_s = clock()
    for number in range(int(seconds / EVERY_S)):
        await asyncio.sleep(max(0.0, start_s + number * EVERY_S - clock()))
        yield number * EVERY_S


async def record(stack: Stack, api: str, seconds: float) -> list[int]:
    """Load one API with its arrivals, and return the numbers of workloads in flight."""
    chance, due, found = random.Random(api), 0.0, list[int]()
    async with aiohttp.ClientSession() as session:
        async for at_s in ticks(seconds):
            due += SHAPES[api](chance, at_s)
            while due >= 1:
                due -= 1
                async with session.post(f"{stack.public}/{api}", data=str(chance.uniform(1, 5))) as reply:
                    assert reply.status == 200, await reply.text()
            counts = stack.counts(api)
            found.append(counts.get("in_queue", 0) + counts.get("in_progress", 0))
    return found


async def main(folder: Path, seconds: float) -> None:
    """Start the stack, record and write the files."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        project = write_project(Path(temporary, "project"))
        async with running_stack([project], data=Path(temporary, "data")) as stack:
            traces = await asyncio.gather(*(record(stack, api, seconds) for api in SHAPES))
    for api, trace in zip(SHAPES, traces, strict=True):
        meaning = (SHAPES[api].__doc__ or "").rstrip(".")
        head = f"# Workloads in flight, read every {EVERY_S} s by benchmarks/queue_traces.py. One worker. {meaning}."
        (folder / f"{api}.txt").write_text(f"{head}\n{' '.join(map(str, trace))}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS))
