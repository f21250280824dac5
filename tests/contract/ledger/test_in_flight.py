"""The workloads in flight of an API and their average, as every process computes it."""

from __future__ import annotations

from datetime import timedelta

from redis.asyncio import Redis

from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import Claimant, Payload, Result, WorkloadLedger
from insula.ledger.in_flight import InFlight, InFlightMeter
from insula.stores.redis_client import connect
from tests.valkey import Valkey

WINDOW = timedelta(seconds=60)
KEY = ApiKeys("echo").samples


async def now_ms(redis: Redis) -> int:
    seconds, _ = await redis.time()
    return seconds * 1000


async def submit(ledger: WorkloadLedger, payload: Payload, count: int) -> None:
    for _ in range(count):
        await ledger.submit("echo", new_id(), payload, queue_limit=100)


async def test_waiting_and_running_workloads_are_in_flight_and_ended_ones_are_not(
    redis: Redis, ledger: WorkloadLedger, alice: Claimant, payload: Payload
) -> None:
    meter = InFlightMeter(redis)
    assert await meter.measure("idle", WINDOW) == InFlight(now=0, average=0)
    await submit(ledger, payload, 3)
    _, [claim, _] = await ledger.claim("echo", alice, count=2)
    assert await meter.measure("echo", WINDOW) == InFlight(now=3, average=3)
    await ledger.finish(claim.lease, Result(inline=b"{}"))
    assert (await meter.measure("echo", WINDOW)).now == 2


async def test_the_first_sample_of_a_slot_counts_in_every_process(
    valkey: Valkey, redis: Redis, ledger: WorkloadLedger, payload: Payload
) -> None:
    """A slot is a part of the window, here 20 s. The first process that measures in it stores its sample for all.

    The test may cross the border of two slots.
    """
    window, other = timedelta(seconds=600), connect(valkey.url)
    await submit(ledger, payload, 4)
    first = await InFlightMeter(redis).measure("echo", window)
    await submit(ledger, payload, 2)
    second = await InFlightMeter(other).measure("echo", window)
    assert (first, second.now) == (InFlight(4, 4), 6)
    assert second.average == (4 if await redis.hlen(KEY) == 1 else 5)
    assert (await InFlightMeter(redis).measure("echo", window)).average >= second.average
    await other.aclose()


async def test_the_average_covers_the_window_and_older_samples_are_deleted(
    redis: Redis, ledger: WorkloadLedger, payload: Payload
) -> None:
    at_ms = await now_ms(redis)
    await redis.hset(KEY, mapping={str(at_ms - age_s * 1000): 10 for age_s in (20, 40, 61, 3600)})
    await submit(ledger, payload, 1)
    assert await InFlightMeter(redis).measure("echo", WINDOW) == InFlight(now=1, average=7)
    assert await redis.hlen(KEY) == 3
    assert 0 < await redis.ttl(KEY) <= 60


async def test_a_long_window_has_at_most_thirty_samples(redis: Redis) -> None:
    """A window of an hour keeps one sample for each two minutes. This part has a sample, so none is added."""
    at_ms = await now_ms(redis)
    await redis.hset(KEY, mapping={str(at_ms - at_ms % 120_000 - n * 120_000): 1 for n in range(100)})
    await redis.expire(KEY, 60)
    assert await InFlightMeter(redis).measure("echo", timedelta(hours=1)) == InFlight(now=0, average=1)
    assert await redis.hlen(KEY) == 30


async def test_workloads_are_measured_although_redis_is_full(redis: Redis) -> None:
    """KEDA needs the measurement to start more workers. These then free memory."""
    await redis.config_set("maxmemory", 1)
    try:
        assert await InFlightMeter(redis).measure("echo", WINDOW) == InFlight(0, 0)
    finally:
        await redis.config_set("maxmemory", 0)
