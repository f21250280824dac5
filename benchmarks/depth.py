"""Measures submit, claim and finish at an empty queue and at a long one, and drains the long one to its end.

Rounds at the two queues alternate, each in a Valkey of its own with the settings of `insula up` (fsync on every write),
so that other work on the machine slows both. The ledger is called directly: no gRPC, no handler.

.venv/bin/python -m benchmarks.depth [--queued 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from redis.asyncio import Redis

from insula.ids import new_id
from insula.ledger import Claim, Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.status import Status
from insula.stores.redis_client import connect
from tests.valkey import running_valkey
from tests.waiting import until_awaited

PAYLOAD = Payload("application/json", 200, inline=b"x" * 200)
RESULT = Result(inline=b"y" * 210)
CLAIMANT = Claimant("w", "a" * 32, "127.0.0.1:1234")
AT_ONCE = 256
"""Calls in flight, and workloads in one claim."""
ROUND = 16 * AT_ONCE
ROUNDS = 11
API = "echo"


class Queue:
    """The queue of one API in one Redis.

    `rates` has the workloads a second of each step, one figure for each round. `cpu_us` has the CPU time of Redis' main
    thread for one workload.
    """

    def __init__(self, url: str) -> None:
        self.redis: Redis = connect(url)
        self.ledger = WorkloadLedger(self.redis, LedgerPolicy())
        self.rates: defaultdict[str, list[float]] = defaultdict(list)
        self.cpu_us: defaultdict[str, list[float]] = defaultdict(list)

    async def submit(self, count: int) -> None:
        """Submit `count` workloads."""

        async def one_after_the_other() -> None:
            for _ in range(count // AT_ONCE):
                await self.ledger.submit(API, new_id(), PAYLOAD, queue_limit=sys.maxsize)

        await all_of(one_after_the_other() for _ in range(AT_ONCE))

    async def claim(self, count: int) -> list[Claim]:
        """Claim `count` workloads, AT_ONCE in a call."""
        claims: list[Claim] = []
        while len(claims) < count:
            _, claimed = await self.ledger.claim(API, CLAIMANT, count=AT_ONCE)
            claims += claimed
        return claims

    async def finish(self, claims: list[Claim]) -> None:
        """End these workloads, AT_ONCE in a call."""
        for first in range(0, len(claims), AT_ONCE):
            assert not await self.ledger.finish_all([(one.lease, RESULT) for one in claims[first : first + AT_ONCE]])

    async def round(self, count: int = ROUND) -> None:
        """Submit, claim and finish `count` workloads. Add the figures of these three steps to `rates` and `cpu_us`."""
        async with self.noted("submit", count):
            await self.submit(count)
        async with self.noted("claim", count):
            claims = await self.claim(count)
        async with self.noted("finish", count):
            await self.finish(claims)

    @asynccontextmanager
    async def noted(self, step: str, count: int) -> AsyncGenerator[None]:
        """Add the figures of the block to `rates` and `cpu_us`. The block does one step for `count` workloads."""
        began_s, began_cpu_s = time.perf_counter(), await self.used_cpu_s()
        yield
        self.rates[step].append(count / (time.perf_counter() - began_s))
        self.cpu_us[step].append((await self.used_cpu_s() - began_cpu_s) / count * 1e6)

    async def used_cpu_s(self) -> float:
        """Return the CPU time of Redis' main thread."""
        used = await self.redis.info("cpu")
        return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])

    async def drain(self) -> int:
        """End all workloads. Return their number."""
        ended = 0
        while claims := (await self.ledger.claim(API, CLAIMANT, count=AT_ONCE))[1]:
            await self.finish(claims)
            ended += len(claims)
        return ended

    async def used_bytes(self) -> int:
        """Wait until Redis does not rewrite its append-only file, then return the memory that Redis uses."""

        async def is_idle() -> bool:
            return not (await self.redis.info("persistence"))["aof_rewrite_in_progress"]

        await until_awaited(is_idle)
        return int((await self.redis.info("memory"))["used_memory"])


async def all_of(calls: Iterable[Awaitable[None]]) -> None:
    """Run these calls concurrently, and wait for all of them."""
    await asyncio.gather(*calls)


async def measure(empty_url: str, long_url: str, queued: int) -> str:
    """Measure a queue that stays empty between rounds, and one of `queued` workloads. Return the table in Markdown."""
    empty, long = Queue(empty_url), Queue(long_url)
    for queue in (empty, long):
        await queue.ledger.open(API)
        await queue.round()  # the scripts are loaded, and the update stream has its greatest length
        await queue.drain()
        queue.rates.clear()
        queue.cpu_us.clear()
    before = await long.used_bytes()
    await long.submit(queued)
    each_bytes = (await long.used_bytes() - before) / queued
    for number in range(ROUNDS):
        for queue in (empty, long) if number % 2 else (long, empty):
            await queue.round()
    began = time.perf_counter()
    ended = await long.drain()
    took_s = time.perf_counter() - began
    counts = await long.ledger.counts(API)
    assert ended == queued
    assert counts == dict.fromkeys(Status, 0) | {Status.COMPLETED: queued + (ROUNDS + 1) * ROUND}
    for queue in (empty, long):
        await queue.redis.aclose()
    lines = [
        f"| median of {ROUNDS} rounds | empty queue, per second | {queued:,} queued | ratio | Redis, µs each | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for step in empty.rates:
        rates, cpu_us = (
            [median(each[step]) for each in both] for both in ((empty.rates, long.rates), (empty.cpu_us, long.cpu_us))
        )
        lines.append(
            f"| {step} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.2f} "
            f"| {cpu_us[0]:.1f} → {cpu_us[1]:.1f} | {cpu_us[1] / cpu_us[0]:.2f} |"
        )
    lines += [f"| drain to the end: claim and finish | | {ended / took_s:,.0f} | | | |"]
    lines += ["", f"A queued workload with a payload of 200 bytes takes {each_bytes:.0f} bytes of Redis."]
    return "\n".join(lines)


def main() -> int:
    """Start two Valkeys, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=1_000_000)
    queued = parser.parse_args().queued // AT_ONCE * AT_ONCE
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, name) for name in ("empty", "long")]
        for each in folders:
            each.mkdir()
        with running_valkey(folders[0]) as empty, running_valkey(folders[1]) as long:
            print(asyncio.run(measure(empty.url, long.url, queued)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
