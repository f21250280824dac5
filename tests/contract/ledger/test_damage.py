"""A damaged record, such as a key of another type, does not hold up the other workloads of its API."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from insula.errors import StoreUnavailable
from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import Blame, Claim, Claimant, Payload, Result, WorkloadLedger
from insula.status import Status
from insula.stores.redis_client import is_damage
from tests.waiting import until_awaited

KEYS = ApiKeys("echo")
DONE = Result(inline=b"{}")


async def claims(ledger: WorkloadLedger, who: Claimant, payload: Payload, number: int) -> list[Claim]:
    for _ in range(number):
        await ledger.submit("echo", new_id(), payload, queue_limit=1000)
    _, claimed = await ledger.claim("echo", who, count=number)
    return claimed


async def damage(redis: Redis, claim: Claim) -> None:
    """Replace the workload's record by a key of another type."""
    await redis.delete(KEYS.workload(claim.lease.id))
    await cast(Any, redis.rpush(KEYS.workload(claim.lease.id), "x"))


async def remove(redis: Redis, claim: Claim) -> None:
    """Delete the damaged record, as the log line about the damage advises."""
    await redis.delete(KEYS.workload(claim.lease.id))


async def reclaimed(ledger: WorkloadLedger, who: Claimant, **of_whom: bool) -> list[str]:
    found = await ledger.reclaim("echo", who, count=10, held=(), **{"expired": False, "own_lost": False, **of_whom})
    return [claim.lease.id for claim in found]


async def test_what_a_failed_script_has_ended_is_counted(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """A script that fails has ended workloads before its error. Redis does not undo this, so they are counted once."""
    first, bad, last = await claims(ledger, alice, payload, 3)
    await damage(redis, bad)
    with pytest.raises(StoreUnavailable) as raised:
        await ledger.finish_all([(first.lease, DONE), (bad.lease, DONE), (last.lease, DONE)])
    assert is_damage(raised.value)
    for claim in (first, last):
        await ledger.finish(claim.lease, DONE)
    counts = await ledger.counts("echo")
    assert (counts[Status.COMPLETED], counts[Status.IN_PROGRESS]) == (2, 1)
    assert await redis.xlen(KEYS.queue) == 1
    await remove(redis, bad)


async def test_a_worker_renews_its_other_leases(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant, bob: Claimant
) -> None:
    bad, good = await claims(ledger, alice, payload, 2)
    await damage(redis, bad)
    await redis.xclaim(KEYS.queue, "workers", "alice", 0, (good.lease.entry,), idle=120_000, justid=True)
    assert await ledger.renew("alice", [bad.lease, good.lease]) == []
    assert await reclaimed(ledger, bob, expired=True) == []
    await ledger.finish(good.lease, DONE)
    await remove(redis, bad)


@pytest.mark.parametrize("own_lost", [True, False])
async def test_the_other_workloads_are_reclaimed(
    ledger: WorkloadLedger,
    redis: Redis,
    payload: Payload,
    alice: Claimant,
    caplog: pytest.LogCaptureFixture,
    *,
    own_lost: bool,
) -> None:
    """The damage is logged once. The damaged workload is not reclaimed before the time of a lease has passed."""
    bad, good = await claims(ledger, alice, payload, 2)
    await damage(redis, bad)
    assert await reclaimed(ledger, alice, own_lost=own_lost) == [good.lease.id]
    [logged] = [vars(record) for record in caplog.records if record.levelname == "ERROR"]
    assert (logged["id"], logged["key"]) == (bad.lease.id, KEYS.workload(bad.lease.id))
    assert "WRONGTYPE" in logged["error"]
    assert [pending["consumer"] for pending in await pending_entries(redis)] == [b"damaged", b"alice"]
    await remove(redis, bad)


async def test_a_damaged_record_is_looked_at_again_after_a_lease(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """After a lease, and once the damaged record is deleted, the workload's entry leaves the queue."""
    [bad] = await claims(ledger, alice, payload, 1)
    await damage(redis, bad)
    assert await reclaimed(ledger, alice) == []
    await remove(redis, bad)

    async def is_gone() -> bool:
        assert await reclaimed(ledger, alice, expired=True) == []
        return await redis.xlen(KEYS.queue) == 0

    await until_awaited(is_gone)


async def test_a_workload_that_cannot_end_does_not_start_again_and_again(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """The workload has lost its last attempt, but its end cannot be written. It is not claimed until it can be."""
    [claim] = await claims(ledger, alice, payload, 1)
    await cast(Any, redis.hset(KEYS.workload(claim.lease.id), "submitted_ms", "yesterday"))
    await cast(Any, redis.hset(KEYS.workload(claim.lease.id), "lost", 2))
    with pytest.raises(StoreUnavailable) as raised:
        await ledger.finish(claim.lease, DONE)
    assert is_damage(raised.value)
    with pytest.raises(StoreUnavailable):
        await ledger.requeue(claim.lease, Blame.LOST, "its outcome could not be written")
    assert await reclaimed(ledger, alice) == []
    await cast(Any, redis.hset(KEYS.workload(claim.lease.id), "submitted_ms", 1))

    async def has_ended() -> bool:
        assert await reclaimed(ledger, alice, expired=True) == []
        workload = await ledger.read("echo", claim.lease.id)
        return workload is not None and workload.status is Status.FAILED

    await until_awaited(has_ended)


async def pending_entries(redis: Redis) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", await redis.xpending_range(KEYS.queue, "workers", "-", "+", 10))
