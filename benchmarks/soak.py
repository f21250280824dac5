"""Load the whole local stack over HTTP for a while, and say what it did with its memory.

    .venv/bin/python -m benchmarks.soak --clients 64 --seconds 60

Each client posts a text, waits for the answer by GET, checks it and goes on. Printed at the end: requests, errors,
time from POST to result, for each process its RSS 10 s after the start of the load and at the end, and what Valkey
keeps of a workload.
Exit code 1 if any request failed or any answer was wrong.
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

PROJECT = Path(__file__).resolve().parent.parent / "examples" / "language-identifier"
SETTLED_S = 10
IDLE_S = 3
"""For what only deploys to be gone before memory is read."""


@dataclass
class Tally:
    """What the clients saw."""

    latencies_s: list[float] = field(default_factory=list[float])
    polls: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])


async def client(session: aiohttp.ClientSession, url: str, until: float, tally: Tally) -> None:
    """One closed loop: submit, poll, check."""
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


def descendants(pid: int) -> dict[int, str]:
    """Process ids below `pid`, and `pid` itself, with their command lines."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue  # it ended while we looked
    found, grew = {pid}, True
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    commands = {one: Path(f"/proc/{one}/cmdline").read_bytes().decode().split("\0") for one in sorted(found)}
    return {
        one: " ".join(Path(word).name for word in words if not word.startswith("-"))[:40]
        for one, words in commands.items()
    }


def memory_mb(pid: int, name: str, file: str = "status") -> float:
    """A field of /proc/<pid>/<file>, in MB."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


async def run(clients: int, seconds: float) -> int:
    """Start the stack, load it, print the figures."""
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
    """Load `url` and print; the exit code."""
    processes = descendants(pid)
    idle = {one: (memory_mb(one, "VmRSS"), memory_mb(one, "Pss", "smaps_rollup")) for one in processes}
    tally, started = Tally(), time.monotonic()
    headers = {"content-type": "text/plain"}
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        loops = [asyncio.create_task(client(session, url, started + seconds, tally)) for _ in range(clients)]
        await asyncio.sleep(min(SETTLED_S, seconds))
        settled, before = {one: memory_mb(one, "VmRSS") for one in processes}, len(tally.latencies_s)
        await asyncio.gather(*loops)
    elapsed = time.monotonic() - started
    print(f"{'process':42}{'idle PSS':>9}{'idle RSS':>9}{'at 10 s':>9}{'at end':>9}{'growth':>8}  MB")
    for one, name in processes.items():
        now = memory_mb(one, "VmRSS")
        print(f"{name:42}{idle[one][1]:9.1f}{idle[one][0]:9.1f}{settled[one]:9.1f}{now:9.1f}{now - settled[one]:8.1f}")
    print(f"{'sum':42}{sum(pss for _, pss in idle.values()):9.1f}{sum(rss for rss, _ in idle.values()):9.1f}")
    grown_mb = sum(memory_mb(one, "VmRSS") - settled[one] for one, name in processes.items() if "valkey" in name)
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
