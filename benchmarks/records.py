"""Measures Redis' memory for a workload, waiting and ended, at a high and at a low rate of submits.

Redis keeps the records of ended workloads in buckets: one hash for all ids with the same first characters, which are
the time of the submit.

.venv/bin/python -m benchmarks.records
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis

from insula.ids import new_id
from insula.ledger import Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.stores.redis_client import connect
from tests.valkey import running_valkey

WORKLOADS = 10_000
AT_ONCE = 50
PAYLOAD = Payload("application/json", 200, inline=b"x" * 200)
RESULT = Result(inline=b"y" * 210)
CLAIMANT = Claimant("w", "a" * 32, "127.0.0.1:1234")
SHIPPED = {"hash-max-listpack-entries": 32, "hash-max-listpack-value": 8192}
"""The settings of `insula up`. Redis' defaults are 128 and 64."""


async def used_bytes(redis: Redis) -> int:
    """Return the memory that Redis reports."""
    return int((await redis.info("memory"))["used_memory"])


def frequent_id(_: int) -> str:
    """Return an id that shares its bucket with many others, as after frequent submits."""
    return new_id()


def rare_id(number: int) -> str:
    """Return an id that is alone in its bucket, as if a workload were submitted every 4 s. `number` makes it unique."""
    return f"{number // 16:08x}-{number % 16:x}{new_id()[10:]}"


async def fill(ledger: WorkloadLedger, ids: Callable[[int], str], first: int) -> None:
    """Submit WORKLOADS workloads. Their ids are `ids` of the numbers from `first`."""
    for begin in range(first, first + WORKLOADS, AT_ONCE):
        chosen = [ids(number) for number in range(begin, begin + AT_ONCE)]
        await asyncio.gather(*(ledger.submit("echo", id, PAYLOAD, queue_limit=10**6) for id in chosen))


async def empty(ledger: WorkloadLedger) -> None:
    """End all waiting workloads."""
    for _ in range(WORKLOADS // AT_ONCE):
        _, claims = await ledger.claim("echo", CLAIMANT, count=AT_ONCE)
        await asyncio.gather(*(ledger.finish(claim.lease, RESULT) for claim in claims))


async def measure(url: str, settings: dict[str, int], ids: Callable[[int], str]) -> tuple[float, float]:
    """Return the bytes for each waiting workload, and for each ended one."""
    redis = connect(url)
    for name, value in settings.items():
        await redis.config_set(name, value)
    ledger = WorkloadLedger(redis, LedgerPolicy())
    await ledger.open("echo")
    await fill(ledger, ids, 0)
    await empty(ledger)  # the update stream now has its greatest length
    before = await used_bytes(redis)
    await fill(ledger, ids, WORKLOADS)
    waiting = await used_bytes(redis)
    await empty(ledger)
    ended = await used_bytes(redis)
    await redis.aclose()
    return (waiting - before) / WORKLOADS, (ended - before) / WORKLOADS


def main() -> int:
    """Print a line for each configuration of Redis and each rate. Each measurement has its own Valkey."""
    print(f"{'bytes for each workload':45}waiting    ended   (payload of 200 B, result of 210 B)")
    for configuration, settings in (("ours", SHIPPED), ("its defaults", {})):
        for rate, ids in (("many a second", frequent_id), ("one in 4 s", rare_id)):
            with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as valkey:
                waiting, ended = asyncio.run(measure(valkey.url, settings, ids))
            print(f"{f'{rate}, Redis with {configuration}':45}{waiting:7.0f}{ended:9.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
