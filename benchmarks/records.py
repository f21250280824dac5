"""How much of Redis' memory a workload takes, waiting and ended.

.venv/bin/python -m benchmarks.records
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from redis.asyncio import Redis

from insula.ids import new_id
from insula.ledger import Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.redis_client import connect
from tests.valkey import running_valkey

WORKLOADS = 5000
AT_ONCE = 50
PAYLOAD = Payload("application/json", 200, inline=b"x" * 200)
RESULT = Result(inline=b"y" * 210)


async def used_bytes(redis: Redis) -> int:
    """What Redis says it uses."""
    return int((await redis.info("memory"))["used_memory"])


async def run(url: str) -> None:
    """Fill a queue, then end all of it; print bytes per workload after each."""
    redis = connect(url)
    await redis.config_set("hash-max-listpack-value", 8192)  # as the shipped configuration does
    ledger, claimant = WorkloadLedger(redis, LedgerPolicy()), Claimant("w", "a" * 64, "127.0.0.1:1234")
    await ledger.open("echo")
    empty = await used_bytes(redis)
    for _ in range(WORKLOADS // AT_ONCE):
        submits = (ledger.submit("echo", new_id(), PAYLOAD, queue_limit=10**6) for _ in range(AT_ONCE))
        await asyncio.gather(*submits)
    waiting = await used_bytes(redis)
    for _ in range(WORKLOADS // AT_ONCE):
        _, claims = await ledger.claim("echo", claimant, count=AT_ONCE)
        await asyncio.gather(*(ledger.finish(claim.lease, RESULT) for claim in claims))
    ended = await used_bytes(redis)
    await redis.aclose()
    print(f"waiting, with a payload of 200 B: {(waiting - empty) / WORKLOADS:.0f} B each")
    print(f"ended, with a result of 210 B:    {(ended - empty) / WORKLOADS:.0f} B each")


def main() -> int:
    """Start a Valkey, run, end it."""
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as valkey:
        asyncio.run(run(valkey.url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
