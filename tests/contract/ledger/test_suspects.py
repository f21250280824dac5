"""I5: workloads that were lost together become suspects. The attempt does not count, and they run one by one.

"Loses a delivery" means: the lost attempt counts. `Blame` says whether it does.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import Blame, Claim, Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.status import Status

KEYS = ApiKeys("echo")


@pytest.fixture
async def strict(redis: Redis, ledger: WorkloadLedger) -> WorkloadLedger:
    """A ledger in which one lost attempt ends a workload."""
    await ledger.open("echo")
    return WorkloadLedger(redis, LedgerPolicy(lease=timedelta(minutes=1), max_deliveries=1))


async def claims(ledger: WorkloadLedger, who: Claimant, payload: Payload, number: int) -> list[Claim]:
    for _ in range(number):
        await ledger.submit("echo", new_id(), payload, queue_limit=1000)
    _, claimed = await ledger.claim("echo", who, count=number)
    return claimed


async def reclaim(
    ledger: WorkloadLedger, who: Claimant, *held: str, suspects: int, expired: bool = False, own_lost: bool = False
) -> list[Claim]:
    return await ledger.reclaim("echo", who, count=10, held=held, expired=expired, own_lost=own_lost, suspects=suspects)


async def expire(redis: Redis, claim: Claim, worker: str) -> None:
    """Make the lease of a claim two minutes old, which is twice its length."""
    await redis.xclaim(KEYS.queue, "workers", worker, 0, (claim.lease.entry,), idle=120_000, justid=True)


async def test_suspects_are_handed_out_as_many_as_can_run_alone(
    strict: WorkloadLedger, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    """A worker gets as many suspects as it asks for. They stay suspects until they end, even if they are given back."""
    for claim in await claims(strict, alice, payload, 3):
        assert await strict.requeue(claim.lease, Blame.SUSPECT) is Status.IN_QUEUE
    assert await reclaim(strict, bob, suspects=0) == []
    [first] = await reclaim(strict, bob, suspects=1)
    assert first.suspect
    assert await strict.requeue(first.lease) is Status.IN_QUEUE
    assert [claim.suspect for claim in await reclaim(strict, alice, suspects=5)] == [True] * 3


async def test_a_suspect_that_is_lost_alone_loses_a_delivery(
    strict: WorkloadLedger, alice: Claimant, payload: Payload
) -> None:
    [claim] = await claims(strict, alice, payload, 1)
    await strict.requeue(claim.lease, Blame.SUSPECT)
    [again] = await reclaim(strict, alice, suspects=1)
    assert await strict.requeue(again.lease, Blame.LOST, "it died") is Status.FAILED


async def test_a_restarted_worker_blames_none_of_several_attempts(
    strict: WorkloadLedger, alice: Claimant, payload: Payload
) -> None:
    claimed = await claims(strict, alice, payload, 3)
    assert len(await reclaim(strict, alice, suspects=1, own_lost=True)) == 1
    statuses = [workload.status for claim in claimed if (workload := await strict.read("echo", claim.lease.id))]
    assert sorted(statuses) == [Status.IN_PROGRESS, Status.IN_QUEUE, Status.IN_QUEUE]


async def test_leases_of_a_lost_worker_that_expire_one_by_one_blame_nobody(
    strict: WorkloadLedger, redis: Redis, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    """When the first lease expires, all workloads of the worker become suspects. So the last one is not blamed."""
    first, second = await claims(strict, alice, payload, 2)
    await expire(redis, first, "alice")
    [taken] = await reclaim(strict, bob, suspects=5, expired=True)
    assert (taken.lease.id, taken.suspect) == (first.lease.id, True)
    await expire(redis, second, "alice")
    [taken] = await reclaim(strict, bob, first.lease.id, suspects=5, expired=True)
    assert (taken.lease.id, taken.suspect) == (second.lease.id, True)


async def test_the_only_attempt_of_a_lost_worker_loses_a_delivery(
    strict: WorkloadLedger, redis: Redis, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    [claim] = await claims(strict, alice, payload, 1)
    await expire(redis, claim, "alice")
    assert await reclaim(strict, bob, suspects=5, expired=True) == []
    workload = await strict.read("echo", claim.lease.id)
    assert workload is not None
    assert workload.status is Status.FAILED


@pytest.mark.parametrize("begins", [True, False])
async def test_a_suspect_loses_a_delivery_with_its_worker_only_if_it_has_begun(
    strict: WorkloadLedger, redis: Redis, alice: Claimant, bob: Claimant, payload: Payload, *, begins: bool
) -> None:
    """After it is claimed, a suspect waits until the other workloads of its process have ended. Then it begins."""
    [claim] = await claims(strict, alice, payload, 1)
    await strict.requeue(claim.lease, Blame.SUSPECT)
    [suspect] = await reclaim(strict, alice, suspects=1)
    await strict.begin(claim.lease)  # too late: another attempt has the workload
    if begins:
        await strict.begin(suspect.lease)
    await expire(redis, suspect, "alice")
    again = await reclaim(strict, bob, suspects=1, expired=True)
    assert [(claim.lease.id, claim.suspect) for claim in again] == ([] if begins else [(claim.lease.id, True)])
    workload = await strict.read("echo", claim.lease.id)
    assert workload is not None
    assert workload.status is (Status.FAILED if begins else Status.IN_PROGRESS)
    if again:
        await strict.finish(again[0].lease, Result(inline=b"{}"))
        await strict.begin(again[0].lease)
