"""Two versions of Insula share one Redis. Each keeps unknown fields of the other and works without missing ones (I2).

The field `later` stands for any field of a later version. The record of an ended workload begins with eight words.
Fields of later versions follow as the ninth word.
"""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from insula.errors import IdempotencyConflict
from insula.ids import made_ms, new_id
from insula.keys import ApiKeys
from insula.ledger import Blame, Claimant, Failure, Idempotency, Payload, Result, Workload, WorkloadLedger
from insula.ledger import ledger as steps
from insula.ledger.replies import UnknownReply
from insula.ledger.scripts import Script
from insula.status import Status

KEYS = ApiKeys("echo")


async def live(redis: Redis, id: str) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], await cast(Any, redis.hgetall(KEYS.workload(id))))


async def ended_line(redis: Redis, id: str) -> bytes:
    record = await cast(Any, redis.hget(*KEYS.ended_bucket(id)))
    return cast(bytes, record).partition(b"\n")[0]


async def read(ledger: WorkloadLedger, id: str) -> Workload:
    found = await ledger.read("echo", id)
    assert found is not None
    return found


async def test_fields_of_a_later_version_are_kept_until_the_workload_ends(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    id = new_id()
    await ledger.submit("echo", id, payload, queue_limit=10)
    later = {b"later": b'two words, "quotes"\nand a line'}
    await cast(Any, redis).hset(KEYS.workload(id), mapping=later)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease)
    [again] = await ledger.reclaim("echo", alice, count=1, held=(), expired=False, own_lost=False)
    assert later.items() <= (await live(redis, id)).items()
    assert (await read(ledger, id)).attempt == 2

    await ledger.finish(again.lease, Result(inline=b"{}"))
    line = await ended_line(redis, id)
    assert line.split(b" ", 8)[8] == rb'{"later":"two words, \"quotes\"\nand a line"}'
    assert (await read(ledger, id)).result == Result(inline=b"{}")


async def test_a_record_without_fields_of_a_later_version_has_no_ninth_word(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """The record ends after the eighth word. Redis may hold millions of records, so their size matters."""
    id = new_id()
    await ledger.submit("echo", id, payload, queue_limit=10)
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.requeue(claim.lease, Blame.LOST, "its runner was killed")
    [again] = await ledger.reclaim("echo", alice, count=1, held=(), expired=False, own_lost=False)
    await ledger.finish(again.lease, Result(inline=b"{}"))
    assert len((await ended_line(redis, id)).split(b" ")) == 8


async def test_a_queue_entry_of_a_later_version_is_claimed(
    redis: Redis, ledger: WorkloadLedger, alice: Claimant
) -> None:
    """The entry has an unknown field, and only the fields that a claim cannot do without."""
    id = new_id()
    await cast(Any, redis.xadd(KEYS.queue, {"id": id, "payload": "hello", "later": "x"}))
    await cast(Any, redis.hset(KEYS.workload(id), mapping={"status": Status.IN_QUEUE, "later": "x"}))
    waiting = await read(ledger, id)
    assert (waiting.status, waiting.attempt, waiting.submitted_ms) == (Status.IN_QUEUE, 0, made_ms(id))
    _, [claim] = await ledger.claim("echo", alice, count=1)
    assert claim.payload == Payload("application/octet-stream", size_bytes=5, inline=b"hello")
    assert (claim.lease.id, claim.lease.attempt, claim.traceparent) == (id, 1, "")
    await ledger.finish(claim.lease, Result(inline=b"{}"))
    ended = await read(ledger, id)
    assert (ended.status, ended.result) == (Status.COMPLETED, Result(inline=b"{}"))
    assert ended.ended_ms is not None


async def test_a_failure_with_a_traceback_is_readable_for_a_version_without_tracebacks(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant
) -> None:
    """Reason and message keep their positions in the record. The traceback is in the ninth word, with later fields."""
    id = new_id()
    await ledger.submit("echo", id, payload, queue_limit=10)
    await cast(Any, redis).hset(KEYS.workload(id), "later", "x")
    _, [claim] = await ledger.claim("echo", alice, count=1)
    failure = Failure("HANDLER_ERROR", "no\n luck", 'File "a/b.py"\n\0 ż', "echo/x/traceback.1")
    await ledger.finish(claim.lease, failure)
    assert (await read(ledger, id)).failure == failure
    record = await cast(Any, redis.hget(*KEYS.ended_bucket(id)))
    line, _, outcome = cast(bytes, record).partition(b"\n")
    words = line.split(b" ", 8)
    assert (words[0], words[7], outcome) == (b"failed", b"failure", b"HANDLER_ERROR no\n luck")
    fields = {"later": "x", "traceback": failure.traceback, "traceback_object": failure.traceback_object}
    assert json.loads(words[8]) == fields


@pytest.mark.parametrize(
    "record",
    [
        b'completed 2 0 1000 5 7 v9 result {"later":"a b"}\n{"x":1}',
        b"completed 2 0 1000 5 7 v9 result later later\n{}",
        b"failed 1 0 1000 5 7 v9 failure\nA_LATER_REASON",
        b"failed 1 0 1000 5 7 v9 failure later later\nHANDLER_ERROR no",
        b"completed 2 0 1000 5 7 v9 later\nof a kind that we do not know",
        b"cancelled 0 0 1000 - 7",
    ],
)
def test_an_ended_record_of_another_version_is_read(record: bytes) -> None:
    workload = Workload.parse_ended("echo", new_id(), record)
    assert (workload.submitted_ms, workload.ended_ms) == (1000, 1007)
    assert workload.status.value.encode() == record.split(b" ")[0]


async def test_an_unknown_reply_of_a_script_raises_unknown_reply(
    redis: Redis, ledger: WorkloadLedger, payload: Payload, alice: Claimant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown reply is a bug of Insula, so the caller gets INTERNAL and not an error about its request."""
    id, key = new_id(), Idempotency("k", "digest")
    await ledger.submit("echo", id, payload, queue_limit=10, idempotency=key)
    with pytest.raises(IdempotencyConflict):
        await ledger.submit("echo", new_id(), payload, queue_limit=10, idempotency=Idempotency("k", "other"))
    _, [claim] = await ledger.claim("echo", alice, count=1)

    def answer(name: str, text: str) -> None:
        monkeypatch.setattr(steps, name, Script(text))

    answer("_SUBMIT", "return {0, -9}")
    with pytest.raises(UnknownReply, match=r"submit\.lua returned -9"):
        await ledger.submit("echo", new_id(), payload, queue_limit=10)
    answer("_FINISH", "return 7")
    with pytest.raises(UnknownReply, match=r"finish\.lua returned 7"):
        await ledger.finish(claim.lease, Result(inline=b"{}"))
    answer("_REQUEUE", "return 7")
    with pytest.raises(UnknownReply):
        await ledger.requeue(claim.lease)
    answer("_RENEW", "return {7}")
    with pytest.raises(UnknownReply):
        await ledger.renew("alice", [claim.lease])
