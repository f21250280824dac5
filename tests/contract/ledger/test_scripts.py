"""Each step of a workload from submit to its end, on a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from redis.asyncio import Redis

from insula.errors import LeaseLost, QueueFull
from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import (
    Blame,
    Claim,
    Claimant,
    Failure,
    LedgerPolicy,
    Payload,
    Result,
    Workload,
    WorkloadLedger,
    coalescer,
)
from insula.status import Status
from tests.waiting import until_awaited

KEYS = ApiKeys("echo")


async def submit(ledger: WorkloadLedger, payload: Payload) -> str:
    id = new_id()
    await ledger.submit("echo", id, payload, queue_limit=1000)
    return id


async def claim_one(ledger: WorkloadLedger, claimant: Claimant) -> Claim:
    _, [claim] = await ledger.claim("echo", claimant, count=1)
    return claim


async def reclaim(
    ledger: WorkloadLedger, who: Claimant, *held: str, expired: bool = False, own_lost: bool = False
) -> list[Claim]:
    return await ledger.reclaim("echo", who, count=10, held=held, expired=expired, own_lost=own_lost)


async def read(ledger: WorkloadLedger, id: str) -> Workload:
    workload = await ledger.read("echo", id)
    assert workload is not None
    return workload


async def expired(ledger: WorkloadLedger, who: Claimant) -> list[Claim]:
    """Wait until a lease has expired. Return the claims that `who` takes over."""
    return await until_awaited(lambda: reclaim(ledger, who, expired=True))


async def counts(redis: Redis) -> dict[str, int]:
    found = cast(dict[bytes, bytes], await redis.hgetall(KEYS.counts))
    return {name.decode(): int(value) for name, value in found.items() if int(value)}


async def test_i2_one_way_a_workload_passes_through_queue_and_progress_to_its_end(
    ledger: WorkloadLedger, redis: Redis, alice: Claimant, payload: Payload
) -> None:
    id = await submit(ledger, payload)
    assert (await read(ledger, id)).status is Status.IN_QUEUE

    claim = await claim_one(ledger, alice)
    assert (claim.lease.id, claim.lease.attempt, claim.payload) == (id, 1, payload)
    running = await read(ledger, id)
    assert (running.status, running.version, running.attempt) == (Status.IN_PROGRESS, "v1", 1)

    await ledger.finish(claim.lease, Result(inline=b'{"n": 1.0}'))
    ended = await read(ledger, id)
    assert (ended.status, ended.result) == (Status.COMPLETED, Result(inline=b'{"n": 1.0}'))
    assert ended.ended_ms is not None
    assert ended.ended_ms >= ended.submitted_ms
    assert await counts(redis) == {"completed": 1}
    assert await redis.xlen(KEYS.queue) == 0
    updates = cast(list[tuple[bytes, dict[bytes, bytes]]], await redis.xrange(KEYS.updates))
    assert [fields[b"status"].decode() for _, fields in updates] == ["in_queue", "in_progress", "completed"]


async def test_submits_with_the_same_id_make_one_workload(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """So a submit can be sent again after its answer was lost."""
    id = new_id()
    for _ in range(3):
        await ledger.submit("echo", id, payload, queue_limit=1000)
    assert await redis.xlen(KEYS.queue) == 1
    assert await counts(redis) == {"in_queue": 1}
    await ledger.finish((await claim_one(ledger, alice)).lease, Result(inline=b"{}"))
    await ledger.submit("echo", id, payload, queue_limit=1000)
    assert await redis.xlen(KEYS.queue) == 0, "also after the workload has ended"
    assert await counts(redis) == {"completed": 1}


async def test_i11_backpressure_a_full_queue_refuses_and_stores_nothing(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    first = new_id()
    await ledger.submit("echo", first, payload, queue_limit=1)
    refused = new_id()
    with pytest.raises(QueueFull, match="limit of 1"):
        await ledger.submit("echo", refused, payload, queue_limit=1)
    with pytest.raises(QueueFull):
        await ledger.check_room("echo", queue_limit=1)
    assert await ledger.read("echo", refused) is None
    claim = await claim_one(ledger, alice)
    await ledger.finish(claim.lease, Result(inline=b"{}"))
    await ledger.submit("echo", refused, payload, queue_limit=1)  # the queue has room again


async def test_claims_are_returned_in_order_and_at_most_count(
    ledger: WorkloadLedger, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    ids = [await submit(ledger, payload) for _ in range(5)]
    _, first = await ledger.claim("echo", alice, count=2)
    newest, rest = await ledger.claim("echo", bob, count=10)
    assert [claim.lease.id for claim in first + rest] == ids
    assert newest == rest[-1].lease.entry


async def test_i3_one_end_a_second_finish_of_the_same_attempt_changes_nothing(
    ledger: WorkloadLedger, redis: Redis, alice: Claimant, payload: Payload
) -> None:
    id = await submit(ledger, payload)
    claim = await claim_one(ledger, alice)
    await ledger.finish(claim.lease, Result(inline=b"{}"))
    await ledger.finish(claim.lease, Failure("HANDLER_ERROR", "too late"))
    assert await ledger.renew("alice", [claim.lease]) == [], "it is not lost to another attempt"
    assert (await read(ledger, id)).status is Status.COMPLETED
    assert await counts(redis) == {"completed": 1}


async def test_i3_a_stalled_worker_cannot_overwrite_its_successor(
    ledger: WorkloadLedger, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    """Once a lease is taken over, the old attempt's finish raises LeaseLost and the record stays the successor's."""
    id = await submit(ledger, payload)
    stale = await claim_one(ledger, alice)
    [taken] = await expired(ledger, bob)
    assert taken.lease.attempt == 2
    assert taken.payload == payload

    assert await ledger.renew("alice", [stale.lease]) == [stale.lease]
    with pytest.raises(LeaseLost):
        await ledger.finish(stale.lease, Result(inline=b'{"who": "alice"}'))
    with pytest.raises(LeaseLost):
        await ledger.requeue(stale.lease)

    await ledger.finish(taken.lease, Result(inline=b'{"who": "bob"}'))
    assert (await read(ledger, id)).result == Result(inline=b'{"who": "bob"}')


async def test_i4_leases_that_are_renewed_are_not_taken_over(
    ledger: WorkloadLedger, redis: Redis, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    """Two leases of the worker alice have expired. She renews one of them before the worker bob reclaims."""
    await submit(ledger, payload)
    await submit(ledger, payload)
    long = WorkloadLedger(redis, LedgerPolicy(lease=timedelta(minutes=1)))
    _, [kept, dropped] = await long.claim("echo", alice, count=2)
    for claim in (kept, dropped):
        await redis.xclaim(KEYS.queue, "workers", "alice", 0, (claim.lease.entry,), idle=120_000, justid=True)
    assert await long.renew("alice", [kept.lease]) == []
    assert [claim.lease.id for claim in await reclaim(long, bob, expired=True)] == [dropped.lease.id]


async def test_a_workload_given_back_runs_before_those_in_the_queue(
    ledger: WorkloadLedger, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    id = await submit(ledger, payload)
    claim = await claim_one(ledger, alice)
    await submit(ledger, payload)
    await ledger.requeue(claim.lease)
    await ledger.requeue(claim.lease)  # safe to repeat
    assert (await read(ledger, id)).status is Status.IN_QUEUE
    [again] = await reclaim(ledger, bob)
    assert (again.lease.id, again.lease.attempt) == (id, 2)


async def test_a_claim_whose_answer_was_lost_is_found_again(
    ledger: WorkloadLedger, alice: Claimant, bob: Claimant, payload: Payload
) -> None:
    """A worker reclaims a workload that it has claimed but does not hold. No other worker can. No attempt is lost."""
    held, lost = await submit(ledger, payload), await submit(ledger, payload)
    await ledger.claim("echo", alice, count=2)
    assert await reclaim(ledger, bob) == []
    for attempt in range(2, 6):
        [claim] = await reclaim(ledger, alice, held)
        assert (claim.lease.id, claim.lease.attempt) == (lost, attempt)


@pytest.mark.parametrize(
    ("first", "text"), [("it died", "it died in each of 3 attempts"), ("it hung", "it died in the last of 3 attempts")]
)
async def test_i5_poison_a_workload_that_keeps_losing_its_runner_ends_failed_and_dead(
    ledger: WorkloadLedger, redis: Redis, alice: Claimant, payload: Payload, first: str, text: str
) -> None:
    id = await submit(ledger, payload)
    claim = await claim_one(ledger, alice)
    for why in (first, "it died"):
        assert await ledger.requeue(claim.lease, Blame.LOST, why) is Status.IN_QUEUE
        [claim] = await reclaim(ledger, alice)
    assert await ledger.requeue(claim.lease, Blame.LOST, "it died") is Status.FAILED

    dead = await read(ledger, id)
    assert dead.status is Status.FAILED
    assert dead.failure is not None
    assert (dead.failure.reason, dead.failure.message) == ("WORKER_LOST", text)
    assert await redis.zscore(KEYS.dead, id) == dead.ended_ms
    assert await redis.hget(f"{KEYS.prefix}dead:{id}", "payload") == b"hello", "a dead workload keeps its payload"
    assert await redis.xlen(KEYS.queue) == 0


async def test_i5_poison_a_restarted_worker_counts_the_lost_attempts_of_its_predecessor(
    ledger: WorkloadLedger, alice: Claimant, payload: Payload
) -> None:
    id = await submit(ledger, payload)
    await claim_one(ledger, alice)
    for _ in range(2):
        [claim] = await reclaim(ledger, alice, own_lost=True)
        assert claim.lease.id == id
    assert await reclaim(ledger, alice, own_lost=True) == []
    assert (await read(ledger, id)).status is Status.FAILED


@pytest.mark.parametrize(
    "outcome",
    [
        Result(inline=b'{"text": "two\\nlines"}'),
        Result(inline=b"\n{ 1.0,\n\0\xff result failure - }\n"),
        Result(object="echo/some-id/result.1"),
        Failure("HANDLER_ERROR", "ValueError: two\nlines, a tab\tand an ä"),
        Failure("HANDLER_ERROR", ""),
    ],
)
async def test_i8_verbatim_an_ended_record_is_read_as_it_was_written(
    ledger: WorkloadLedger, alice: Claimant, payload: Payload, outcome: Result | Failure
) -> None:
    id = await submit(ledger, payload)
    claim = await claim_one(ledger, alice)
    running = await read(ledger, id)
    await ledger.finish(claim.lease, outcome)
    ended = await read(ledger, id)
    assert outcome == (ended.failure if ended.status is Status.FAILED else ended.result)
    assert ended.started_ms is not None
    assert ended.submitted_ms <= ended.started_ms <= (ended.ended_ms or 0)
    assert replace(running, status=ended.status, ended_ms=ended.ended_ms) == replace(ended, result=None, failure=None)


async def test_a_cancelled_workload_that_never_started_has_no_start_time(
    ledger: WorkloadLedger, payload: Payload
) -> None:
    id = await submit(ledger, payload)
    waiting = await read(ledger, id)
    await ledger.close("echo")
    ended = await read(ledger, id)
    assert ended.ended_ms is not None
    assert ended == replace(waiting, status=Status.CANCELLED, ended_ms=ended.ended_ms)


async def test_i9_retention_an_ended_record_has_a_ttl_of_retention_and_a_day(
    redis: Redis, alice: Claimant, payload: Payload
) -> None:
    ledger = WorkloadLedger(redis, LedgerPolicy(retention=timedelta(hours=1)))
    await ledger.open("echo")
    id = await submit(ledger, payload)
    await ledger.finish((await claim_one(ledger, alice)).lease, Failure("HANDLER_ERROR", "ValueError: no"))
    assert 0 < await redis.ttl(KEYS.ended_bucket(id)[0]) <= 25 * 3600
    failed = await read(ledger, id)
    assert failed.failure == Failure("HANDLER_ERROR", "ValueError: no")


async def test_i1_concurrent_submits_share_a_round_trip(ledger: WorkloadLedger, redis: Redis, payload: Payload) -> None:
    """200 concurrent submits take 20 reads of the socket at most, so one fsync covers many submits."""
    await submit(ledger, payload)  # loads the script
    reads_before = (await redis.info("stats"))["total_reads_processed"]
    await asyncio.gather(*(submit(ledger, payload) for _ in range(200)))
    reads = (await redis.info("stats"))["total_reads_processed"] - reads_before
    assert reads <= 20
    assert await redis.xlen(KEYS.queue) == 201


async def test_a_workload_that_ends_while_it_is_read_is_found(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read is two commands. The test sends each alone, so that the workload may end in between."""
    monkeypatch.setattr(coalescer, "BATCH_MAX", 1)
    other = WorkloadLedger(redis, ledger.policy)
    for _ in range(100):
        id = await submit(ledger, payload)
        ending = asyncio.create_task(other.finish((await claim_one(ledger, alice)).lease, Result(inline=b"{}")))
        while not ending.done():
            await read(ledger, id)
