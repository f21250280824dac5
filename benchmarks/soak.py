"""Loads the local stack over HTTP for a while, and prints its memory.

    .venv/bin/python -m benchmarks.soak --clients 64 --seconds 60

Each client repeats: POST a text, GET its result, check the result. At the end it prints the requests, the errors, the
time from POST to result, the RSS of each process 10 s after the start of the load and at the end, and Valkey's memory
for a workload. The exit code is 1 if any request failed or any result was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.processes import command_line, descendants, memory_mb

PROJECT = Path(__file__).resolve().parent.parent / "examples" / "language-identifier"
SETTLED_S = 10
IDLE_S = 3
"""Pause before memory is read, so that processes that only deploy have ended."""


@dataclass
class Tally:
    """The counts and times of all clients."""

    latencies_s: list[float] = field(default_factory=list[float])
    polls: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])


async def client(session: aiohttp.ClientSession, url: str, until: float, tally: Tally) -> None:
    """Submit, poll and check in a loop, one workload at a time."""
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            async with session.post(url, data="Guten Tag, wie geht es Ihnen?") as reply:
                id = (await reply.json())["id"]
            while True:
                tally.polls += 1
                async with session.get(f"{url}/{id}") as reply:
                    answer = await reply.json()
                if answer["status"] not in ("in_queue", "in_progress"):
                    break
                await asyncio.sleep(0.01)
            if answer.get("result", {}).get("language") != "de":
                tally.errors[f"wrong answer {answer}"] += 1
        except (aiohttp.ClientError, KeyError, TimeoutError) as error:
            tally.errors[f"{type(error).__name__}: {error}"] += 1
        tally.latencies_s.append(time.monotonic() - started)


def names(pid: int) -> dict[int, str]:
    """Return short, distinct names of the process `pid` and its descendants."""
    commands = {pid: command_line(pid)} | descendants(pid)
    return {
        one: " ".join(Path(word).name for word in command.split() if not word.startswith("-"))[:40]
        for one, command in commands.items()
    }


async def run(clients: int, seconds: float) -> int:
    """Start the stack, load it and print the results."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "insula.cli.main", "up", str(PROJECT), "--json", "--data", data]
        places = ["--public-port", "18080", "--internal-address", "127.88.0.1"]
        stack = await asyncio.create_subprocess_exec(*command, *places, stdout=asyncio.subprocess.PIPE)
        assert stack.stdout is not None
        try:
            public = json.loads(await stack.stdout.readline())["public"]
            await asyncio.sleep(IDLE_S)
            return await load(f"{public}/language-identifier", stack.pid, clients, seconds)
        finally:
            stack.terminate()
            await stack.wait()


async def load(url: str, pid: int, clients: int, seconds: float) -> int:
    """Load `url` and print the results. Return the exit code."""
    processes = names(pid)
    idle = {one: (memory_mb(one), memory_mb(one, "Pss", "smaps_rollup")) for one in processes}
    tally, started = Tally(), time.monotonic()
    headers = {"content-type": "text/plain"}
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        loops = [asyncio.create_task(client(session, url, started + seconds, tally)) for _ in range(clients)]
        await asyncio.sleep(min(SETTLED_S, seconds))
        settled, before = {one: memory_mb(one) for one in processes}, len(tally.latencies_s)
        await asyncio.gather(*loops)
    elapsed = time.monotonic() - started
    print(f"{'process':42}{'idle PSS':>9}{'idle RSS':>9}{'at 10 s':>9}{'at end':>9}{'growth':>8}  MB")
    for one, name in processes.items():
        now = memory_mb(one)
        print(f"{name:42}{idle[one][1]:9.1f}{idle[one][0]:9.1f}{settled[one]:9.1f}{now:9.1f}{now - settled[one]:8.1f}")
    print(f"{'sum':42}{sum(pss for _, pss in idle.values()):9.1f}{sum(rss for rss, _ in idle.values()):9.1f}")
    grown_mb = sum(memory_mb(one) - settled[one] for one, name in processes.items() if "valkey" in name)
    print(f"valkey: {grown_mb * 2**20 / max(1, len(tally.latencies_s) - before):.0f} bytes for each ended workload")
    latencies_ms = sorted(latency_s * 1000 for latency_s in tally.latencies_s)
    print(
        f"{len(latencies_ms)} workloads in {elapsed:.1f} s ({len(latencies_ms) / elapsed:.0f}/s), {tally.polls} polls; "
        f"POST to result: median {statistics.median(latencies_ms):.0f} ms, "
        f"p99 {latencies_ms[int(len(latencies_ms) * 0.99)]:.0f} ms; errors: {dict(tally.errors) or 'none'}"
    )
    return 1 if tally.errors else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    return asyncio.run(run(arguments.clients, arguments.seconds))


if __name__ == "__main__":
    sys.exit(main())
