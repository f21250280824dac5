"""Many workloads in one step of the ledger, on a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis

from insula.errors import IdempotencyConflict, InsulaError, QueueFull
from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import (
    Accepted,
    Claimant,
    Failure,
    Idempotency,
    LedgerPolicy,
    Payload,
    Result,
    Submission,
    WorkloadLedger,
)
from insula.ledger.updates import Updates
from insula.stores.redis_client import connect_blocking
from tests.valkey import Valkey

KEYS = ApiKeys("echo")


def submissions(payload: Payload, count: int) -> list[Submission]:
    return [Submission(new_id(), payload) for _ in range(count)]


def kinds(answers: list[Accepted | InsulaError]) -> list[type]:
    return [type(answer) for answer in answers]


async def test_many_are_accepted_in_their_order(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    many = submissions(payload, 5)
    answers = await ledger.submit_many("echo", many, queue_limit=100)
    assert answers == [Accepted(one.id, 5) for one in many]
    assert await redis.hget(KEYS.counts, "in_queue") == b"5"
    _, claims = await ledger.claim("echo", alice, count=5)
    assert [claim.lease.id for claim in claims] == [one.id for one in many]


async def test_i11_backpressure_a_full_queue_refuses_the_rest(
    ledger: WorkloadLedger, redis: Redis, payload: Payload
) -> None:
    answers = await ledger.submit_many("echo", submissions(payload, 5), queue_limit=3)
    assert kinds(answers) == [Accepted] * 3 + [QueueFull] * 2
    assert await redis.xlen(KEYS.queue) == 3
    assert await redis.hget(KEYS.counts, "in_queue") == b"3"


async def test_a_repeated_batch_stores_nothing(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """The Redis client sends a batch again if the reply is lost. Some workloads may run or have ended by then."""
    many = submissions(payload, 4)
    await ledger.submit_many("echo", many, queue_limit=100)
    _, [first, _] = await ledger.claim("echo", alice, count=2)
    await ledger.finish(first.lease, Result(inline=b"{}"))
    again = await ledger.submit_many("echo", [*many, *submissions(payload, 1)], queue_limit=4)
    assert kinds(again) == [Accepted] * 5
    assert await redis.xlen(KEYS.queue) == 4


async def test_keys_hold_within_a_batch_and_beyond_it(ledger: WorkloadLedger, redis: Redis, payload: Payload) -> None:
    keys = [Idempotency("k", "same"), Idempotency("k", "same"), Idempotency("k", "other"), Idempotency("l", "same")]
    many = [Submission(new_id(), payload, key) for key in keys]
    first, second, third, fourth = await ledger.submit_many("echo", many, queue_limit=100)
    assert (first, second) == (Accepted(many[0].id, 2), Accepted(many[0].id, 2))
    assert isinstance(third, IdempotencyConflict)
    assert fourth == Accepted(many[3].id, 2)
    assert await redis.xlen(KEYS.queue) == 2
    renamed = [one._replace(id=new_id()) for one in many]
    again = await ledger.submit_many("echo", renamed, queue_limit=100)
    assert again[0] == again[1] == first
    assert again[3] == fourth


async def test_records_read_together_are_those_read_alone(
    ledger: WorkloadLedger, redis: Redis, payload: Payload, alice: Claimant
) -> None:
    """`read_many` returns the same as `read`: for four statuses, with and without a result, and for an unknown id."""
    many = submissions(payload, 4)
    await ledger.submit_many("echo", many, queue_limit=100)
    _, [first, second, _] = await ledger.claim("echo", alice, count=3)
    await ledger.finish(first.lease, Result(inline=b'{"n": 1.0}'))
    await ledger.finish(second.lease, Failure("HANDLER_ERROR", "ValueError: x", "Traceback …"))
    ids = [*(one.id for one in many), new_id()]
    together = await ledger.read_many("echo", ids)
    assert together == [await ledger.read("echo", id) for id in ids]
    assert [one and one.status for one in together] == ["completed", "failed", "in_progress", "in_queue", None]


async def test_i9_retention_holds_for_records_read_together(redis: Redis, payload: Payload, alice: Claimant) -> None:
    forgetful = WorkloadLedger(redis, replace(LedgerPolicy(), retention=LedgerPolicy().lease * 0))
    lasting = WorkloadLedger(redis, LedgerPolicy())
    await lasting.open("echo")
    [one] = submissions(payload, 1)
    await lasting.submit_many("echo", [one], queue_limit=1)
    _, [claim] = await lasting.claim("echo", alice, count=1)
    await lasting.finish(claim.lease, Result(inline=b"{}"))
    assert await forgetful.read_many("echo", [one.id]) == [None]


async def test_ends_are_collected_and_other_changes_are_not(
    ledger: WorkloadLedger, valkey: Valkey, payload: Payload, alice: Claimant
) -> None:
    many = submissions(payload, 3)
    await ledger.submit_many("echo", many, queue_limit=100)
    blocking = connect_blocking(valkey.url)
    awaited = [many[0].id, many[1].id]
    async with Updates(blocking).watch_ends("echo", awaited) as ends:
        assert await ends.take(0.05) == []
        _, claims = await ledger.claim("echo", alice, count=3)
        assert await ends.take(0.05) == []
        for claim in (claims[2], claims[0]):
            await ledger.finish(claim.lease, Result(inline=b"{}"))
        assert await ends.take(10) == [many[0].id]
        taking = asyncio.create_task(ends.take(10))
        await ledger.finish(claims[1].lease, Result(inline=b"{}"))
        assert await taking == [many[1].id]
    await blocking.aclose()
