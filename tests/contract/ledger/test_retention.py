"""The steps of the sweeper, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from insula.errors import ApiNotFound, LeaseLost, StoreUnavailable
from insula.ids import new_id
from insula.keys import BUCKET_CHARS, ApiKeys
from insula.ledger import Blame, Claimant, Failure, Idempotency, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.ledger.retention import Expired, Retention
from insula.status import Status
from insula.stores.object_keys import payload_object
from tests.waiting import until_awaited

KEYS = ApiKeys("echo")
LONG, NONE = timedelta(hours=1), timedelta(0)


def retention_of(redis: Redis, retention: timedelta, lease: timedelta = timedelta(milliseconds=10)) -> Retention:
    return Retention(redis, LedgerPolicy(retention=retention, lease=lease))


async def accept(ledger: WorkloadLedger, payload: Payload) -> str:
    return (await ledger.submit("echo", new_id(), payload, queue_limit=100)).id


async def end(ledger: WorkloadLedger, who: Claimant, outcome: Result | Failure) -> None:
    _, [claim] = await ledger.claim("echo", who, count=1)
    await ledger.finish(claim.lease, outcome)


async def counts(redis: Redis) -> dict[bytes, bytes]:
    found = await cast(Any, redis.hgetall(KEYS.counts))
    return {status: number for status, number in found.items() if number != b"0"}


async def test_i9_retention_nothing_of_a_forgotten_workload_is_left(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """The workload's record, index entry and count are deleted. Live workloads, and those that ended lately, stay."""
    id = await accept(ledger, payload)
    await end(ledger, alice, Result(inline=b"{}"))
    waiting = await accept(ledger, payload)
    assert await retention_of(redis, LONG).expired("echo", count=10) == ([], False)
    await retention_of(redis, LONG).forget("echo", id)
    assert await ledger.read("echo", id) is not None

    retention = retention_of(redis, NONE)
    assert await retention.expired("echo", count=10) == ([Expired(id, has_objects=False, attempts=1)], False)
    for each in (id, id, waiting, new_id()):
        await retention.forget("echo", each)
    assert await ledger.read("echo", id) is None
    bucket, _ = KEYS.ended_bucket(id)
    assert await redis.exists(KEYS.workload(id), bucket, KEYS.ended) == 0
    assert await redis.exists(KEYS.workload(waiting)) == 1
    assert await counts(redis) == {b"in_queue": b"1"}


async def test_a_workload_that_may_have_objects_is_marked(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """Workloads with a large payload, a large result or a long traceback have objects in S3.

    A workload with a lost attempt may have some, even if the attempt did not count.
    """
    await ledger.intend_upload("echo", "echo/x/payload")
    stored = await accept(ledger, Payload("text/plain", size_bytes=5, object="echo/x/payload"))
    await end(ledger, alice, Failure("HANDLER_ERROR", "no"))
    large = await accept(ledger, payload)
    await end(ledger, alice, Result(object="echo/y/result.1"))
    traced = await accept(ledger, payload)
    await end(ledger, alice, Failure("HANDLER_ERROR", "no", traceback_object="echo/z/traceback.1"))
    retried = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease, Blame.LOST, "its runner was killed")
    [again] = await ledger.reclaim("echo", alice, count=1, held=(), expired=False, own_lost=False)
    await ledger.finish(again.lease, Result(inline=b"{}"))
    suspected = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease, Blame.SUSPECT)
    [again] = await ledger.reclaim("echo", alice, count=1, held=(), expired=False, own_lost=False)
    await ledger.finish(again.lease, Result(inline=b"{}"))
    small = await accept(ledger, payload)
    await end(ledger, alice, Result(inline=b"{}"))
    inline = await accept(ledger, payload)
    await end(ledger, alice, Failure("HANDLER_ERROR", "no", "short"))

    found, _ = await retention_of(redis, NONE).expired("echo", count=10)
    with_objects = (Expired(id, True, 1) for id in (stored, large, traced))
    without = (Expired(id, False, 1) for id in (small, inline))
    assert set(found) == {*with_objects, Expired(retried, True, 2), Expired(suspected, True, 2), *without}


async def make_older(redis: Redis, id: str) -> None:
    """Move the submission and the end of a workload two hours back."""
    bucket, field = KEYS.ended_bucket(id)
    words = cast(bytes, await cast(Any, redis.hget(bucket, field))).split(b" ")
    words[3] = b"%d" % (int(words[3]) - 2 * 3600 * 1000)
    await cast(Any, redis.hset(bucket, field, b" ".join(words)))
    await redis.zadd(KEYS.ended, {id[:BUCKET_CHARS]: int(words[3])})


async def test_pages_continue_after_buckets_without_expired_workloads(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    ids = [f"{number:08x}{new_id()[8:-1]}{digit}" for number in range(5) for digit in "12"]
    for id in ids:
        await ledger.submit("echo", id, payload, queue_limit=100)
        await end(ledger, alice, Result(inline=b"{}"))
    for id in ids[::2]:
        await make_older(redis, id)
    retention = retention_of(redis, LONG)
    forgotten, more = list[str](), True
    async with asyncio.timeout(60):
        while more:
            expired, more = await retention.expired("echo", count=1)
            for one in expired:
                assert await retention.forget("echo", one.id)
                assert not await retention.forget("echo", one.id)
            forgotten += [one.id for one in expired]
    assert sorted(forgotten) == ids[::2]
    assert await counts(redis) == {b"completed": b"5"}


async def test_workloads_of_one_bucket_expire_one_by_one(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """A bucket is the Redis hash of ended workloads whose ids begin alike. It is deleted with its last workload.

    After a sweep it is due again when its next workload expires.
    """
    base = new_id()
    first, last = (f"{base[:-1]}{digit}" for digit in "12")
    for id in (first, last):
        await ledger.submit("echo", id, payload, queue_limit=100)
        await end(ledger, alice, Result(inline=b"{}"))
    bucket, _ = KEYS.ended_bucket(first)
    await make_older(redis, first)

    retention = retention_of(redis, LONG)
    assert await retention.expired("echo", count=10) == ([Expired(first, has_objects=False, attempts=1)], False)
    await retention.forget("echo", first)
    assert await retention.expired("echo", count=10) == ([], False)
    kept = await ledger.read("echo", last)
    assert kept is not None
    assert await redis.zrange(KEYS.ended, 0, -1, withscores=True) == [(base[:BUCKET_CHARS].encode(), kept.ended_ms)]
    await retention_of(redis, NONE).forget("echo", last)
    assert await redis.exists(bucket, KEYS.ended) == 0
    assert await counts(redis) == {}


async def test_a_bucket_whose_records_redis_dropped_is_reported(
    redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """Redis deletes a bucket by its TTL if no sweep has run for a day. Objects of its workloads may be left in S3."""
    ledger = WorkloadLedger(redis, LedgerPolicy(max_deliveries=1))
    await ledger.open("echo")
    id = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease, Blame.LOST, "its runner was killed")
    await redis.delete(KEYS.ended_bucket(id)[0], f"{KEYS.prefix}dead:{id}")
    ten_days_ago = int(time.time() - 10 * 86400) * 1000
    await redis.zadd(KEYS.ended, {id[:BUCKET_CHARS]: ten_days_ago})
    await redis.zadd(KEYS.dead, {id: ten_days_ago})

    retention = Retention(redis, LedgerPolicy())
    [dropped], _ = await retention.expired("echo", count=10)
    assert (dropped.id, dropped.is_bucket) == (id[:BUCKET_CHARS], True)
    assert await retention.forget("echo", dropped.id)
    assert await counts(redis) == {}
    assert await retention.expired("echo", count=10) == ([], False)
    assert await redis.exists(KEYS.ended, KEYS.dead) == 0


async def test_a_dead_workload_keeps_its_payload_until_it_is_forgotten(
    redis: Redis, payload: Payload, alice: Claimant
) -> None:
    ledger = WorkloadLedger(redis, LedgerPolicy(max_deliveries=1))
    await ledger.open("echo")
    id = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease, Blame.LOST, "its runner was killed")
    assert await retention_of(redis, NONE).expired("echo", count=1) == (
        [Expired(id, has_objects=True, attempts=1)],
        True,
    )
    assert await cast(Any, redis.hget(f"{KEYS.prefix}dead:{id}", "payload")) == b"hello"
    await retention_of(redis, NONE).forget("echo", id)
    assert await redis.exists(f"{KEYS.prefix}dead:{id}", KEYS.dead) == 0


async def test_a_payload_of_no_workload_or_a_cancelled_one_is_found(
    redis: Redis, ledger: WorkloadLedger, payload: Payload
) -> None:
    """Payloads in S3 that no live workload uses are found. A recent upload is not, as its workload may follow."""
    retention = retention_of(redis, NONE)
    committed, cancelled = new_id(), new_id()
    for id in (committed, cancelled):
        stored = Payload("text/plain", size_bytes=5, object=payload_object("echo", id))
        await ledger.intend_upload("echo", payload_object("echo", id))
        await ledger.submit("echo", id, stored, queue_limit=100)
    await ledger.intend_upload("echo", "echo/fresh/payload")
    await redis.zadd(KEYS.uploads, {"echo/old/payload": 1_000_000})
    assert await retention.stale_uploads("echo") == ["echo/old/payload"]
    await ledger.close("echo")
    expected = [payload_object("echo", id) for id in sorted((committed, cancelled))]
    assert await retention.stale_uploads("echo") == [*expected, "echo/old/payload"]
    await ledger.withdraw_upload("echo", "echo/old/payload")
    assert await retention.stale_uploads("echo") == expected


async def test_a_deleted_api_leaves_no_key_once_its_last_workload_is_forgotten(
    redis: Redis, ledger: WorkloadLedger, payload: Payload
) -> None:
    retention = retention_of(redis, NONE)
    id = await accept(ledger, payload)
    assert not await retention.drop("echo")
    await ledger.close("echo")
    assert not await retention.drop("echo")
    await retention.forget("echo", id)
    assert await retention.drop("echo")
    assert await redis.keys() == []
    assert await retention.drop("echo")


async def test_a_running_upload_prevents_dropping_a_deleted_api_and_is_refused(
    redis: Redis, ledger: WorkloadLedger
) -> None:
    """Redis has a note of each upload to S3. The sweeper needs it to delete the object of the refused upload."""
    retention = retention_of(redis, NONE)
    await ledger.intend_upload("echo", "echo/x/payload")
    await ledger.close("echo")
    assert not await retention.drop("echo")
    stored = Payload("text/plain", size_bytes=5, object="echo/x/payload")
    with pytest.raises(ApiNotFound):
        await accept(ledger, stored)
    await ledger.withdraw_upload("echo", "echo/x/payload")
    assert await retention.drop("echo")
    with pytest.raises(ApiNotFound):
        await accept(ledger, Payload("text/plain", size_bytes=5, inline=b"hello"))
    assert await redis.keys() == []


async def test_an_upload_whose_note_is_gone_or_a_day_old_is_not_accepted(redis: Redis, ledger: WorkloadLedger) -> None:
    """Redis has a note of each upload to S3. If it is gone or old, the sweeper has deleted the object, or will."""
    stored = Payload("text/plain", size_bytes=5, object="echo/x/payload")
    with pytest.raises(StoreUnavailable, match="send it again"):
        await accept(ledger, stored)
    now_ms = time.time() * 1000
    for age_s, accepted in ((24 * 3600 + 60, False), (24 * 3600 - 60, True)):
        await redis.zadd(KEYS.uploads, {"echo/x/payload": int(now_ms - age_s * 1000)})
        with nullcontext() if accepted else pytest.raises(StoreUnavailable, match="send it again"):
            await accept(ledger, stored)
        assert await redis.zcard(KEYS.uploads) == int(not accepted)


async def test_an_api_that_is_deployed_again_has_a_queue(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """The sweeper drops the deleted API between the two steps of its new deployment, and its queue still works."""
    retention = retention_of(redis, NONE)
    await ledger.close("echo")
    await ledger.open("echo")
    assert await retention.drop("echo")
    await ledger.reopen("echo")
    assert not await retention.drop("echo")
    id = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    assert claim.lease.id == id


async def test_a_running_workload_of_a_deleted_api_is_cancelled_once_its_worker_has_ended(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """No other worker reclaims such a workload. It is not cancelled while its lease is renewed or its API exists."""
    id = await accept(ledger, payload)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    patient, impatient = retention_of(redis, LONG, lease=LONG), retention_of(redis, LONG)
    await until_idle(redis)
    assert await impatient.abandon("echo", count=10) == 0
    await ledger.close("echo")
    assert await patient.abandon("echo", count=10) == 0
    assert await impatient.abandon("echo", count=10) == 1
    assert await impatient.abandon("echo", count=10) == 0
    record = await ledger.read("echo", id)
    assert record is not None
    assert record.status is Status.CANCELLED
    with pytest.raises(LeaseLost):
        await ledger.finish(claim.lease, Result(inline=b"{}"))
    [gone], _ = await retention_of(redis, NONE).expired("echo", count=10)
    assert gone.has_objects, "it may have written its result before its end was on record"


async def until_idle(redis: Redis) -> None:
    """Return once the queue's pending entry has been idle for more than three leases of 10 ms."""

    async def idled() -> bool:
        [pending] = await cast(Any, redis.xpending_range(KEYS.queue, "workers", "-", "+", 1))
        return int(pending["time_since_delivered"]) > 40

    await until_awaited(idled)


async def test_an_idempotency_key_expires_with_its_workload(redis: Redis, payload: Payload) -> None:
    """Otherwise a repeated submit would return the id of a deleted workload."""
    ledger = WorkloadLedger(redis, LedgerPolicy(retention=timedelta(seconds=60)))
    await ledger.open("echo")
    await ledger.submit("echo", new_id(), payload, queue_limit=1, idempotency=Idempotency("key", "digest"))
    assert 0 < await redis.ttl(KEYS.idempotency("key")) <= 60
